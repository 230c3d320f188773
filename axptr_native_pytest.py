# SPDX-License-Identifier: MIT
"""The pytest plugin of axptr-native: memory that really faults as fixtures, and tests that have to crash.

It lies beside the package because pytest imports it for every test suite, and importing the package installs signal
handlers.  What it needs of the package is imported for the first test that asks for it.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from axptr_native import AddrSpace
    from axptr_native.testing import Region
    from axptr_native.testing._crash import Expected

ASPACE_SIZE = 64 * 1024 * 1024

_MUST_CRASH = (
    "must_crash(signal, timeout=60): the test passes if its function, called in a child process, dies of the signal "
    "(a number, a signal.Signals, or a name such as 'SIGSEGV') within so many seconds. What the fixtures have set up "
    "is there in the child; what the child changes is lost with it."
)

_in_child = pytest.StashKey[bool]()
_injects = pytest.StashKey[bool]()
_told = pytest.StashKey[bool]()
_workers_header = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("axptr-native", "fault injection (axptr-native)").addoption(
        "--axptr-seed",
        type=int,
        metavar="N",
        help="The seed of the faults that the fixture fail_usercopy simulates: the same number, the same faults. "
        "A random one unless given, told in the header and beside failures.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MUST_CRASH)
    if _is_worker(config):
        config.option.axptr_seed = config.workerinput["axptr_seed"]  # type: ignore[attr-defined]
    elif config.option.axptr_seed is None:
        config.option.axptr_seed = int.from_bytes(os.urandom(4), "big")  # random's own state may be seeded


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the seed, since it parses the command line anew."""
    node.workerinput["axptr_seed"] = node.config.option.axptr_seed


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


# ---- The header: told as soon as it is known that the suite uses the package. ----


def pytest_report_header(config: pytest.Config) -> list[str]:
    return _untold_header(config)


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    return _untold_header(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in _untold_header(config):
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _is_worker(session.config):
        session.config.workeroutput["axptr_header"] = _header(session.config)  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    lines = getattr(node, "workeroutput", {}).get("axptr_header")  # a worker that died has none
    if lines:
        node.config.stash[_workers_header] = lines


def _untold_header(config: pytest.Config) -> list[str]:
    if _is_worker(config) or _told in config.stash or config.option.no_header or config.option.verbose < 0:
        return []
    lines = _header(config) or config.stash.get(_workers_header, [])
    if lines:
        config.stash[_told] = True
    return lines


def _header(config: pytest.Config) -> list[str]:
    if not _package_is_loaded():
        return []
    from axptr_native.testing._header import header_line

    cache = getattr(config, "cache", None)
    return [header_line(config.option.axptr_seed, verbose=config.option.verbose > 0, cache=cache)]


def _package_is_loaded() -> bool:
    return "axptr_native.handlers" in sys.modules


# ---- Each test: our handlers on top, and marked ones in a child. ----


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make wrong arguments of a marker errors of the collection, which is what workers of pytest-xdist can report."""
    report = yield
    errors = [error for node in report.result if (error := _usage_error(node))]
    if errors:
        report.outcome, report.longrepr = "failed", "\n".join(errors)
    return report


def _usage_error(node: pytest.Item | pytest.Collector) -> str | None:
    try:
        if isinstance(node, pytest.Item):
            _expected(node)
    except pytest.UsageError as error:
        return str(error)
    return None


def _expected(item: pytest.Item) -> Expected | None:
    marker = item.get_closest_marker("must_crash")
    if marker is None:
        return None
    from axptr_native.testing._crash import must_crash

    if not isinstance(item, pytest.Function) or (_is_unittest(item) and inspect.iscoroutinefunction(item.obj)):
        raise pytest.UsageError(f"{item.nodeid}: only a test that is a function can be marked must_crash")
    try:
        return must_crash(*marker.args, **marker.kwargs)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from None


def _is_unittest(item: pytest.Function) -> bool:
    unittest = sys.modules.get("unittest")  # which takes longer to import than all of this
    return unittest is not None and item.cls is not None and issubclass(item.cls, unittest.TestCase)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    _keep_on_top()


@pytest.hookimpl(wrapper=True, trylast=True)  # after what else goes around a test
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    _keep_on_top()
    expected = _expected(item)
    # unittest calls the method itself, between its own setUp and tearDown.
    if expected is None or not isinstance(item, pytest.Function) or not _is_unittest(item):
        return (yield)
    method = item.obj

    @functools.wraps(method)
    def in_child() -> None:
        _expect_crash(item, expected, method)

    item.obj = in_child
    try:
        return (yield)
    finally:
        item.obj = method


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    _keep_on_top()


def _keep_on_top() -> None:
    """Go back on top of pytest's faulthandler, and of what a fixture has put there."""
    if _package_is_loaded():
        sys.modules["axptr_native.handlers"].install()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    expected = _expected(pyfuncitem)
    if expected is None or _in_child in pyfuncitem.stash:
        return None

    def body() -> None:
        pyfuncitem.stash[_in_child] = True
        pyfuncitem.ihook.pytest_pyfunc_call(pyfuncitem=pyfuncitem)  # whoever else would have called it

    _expect_crash(pyfuncitem, expected, body)
    return True


def _expect_crash(item: pytest.Function, expected: Expected, body: Callable[[], object]) -> None:
    from axptr_native.testing._crash import expect_crash

    expect_crash(body, expected, lambda error: str(item.repr_failure(pytest.ExceptionInfo.from_exception(error))))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _injects in item.stash:
        report.sections.append(("simulated faults", f"repeat them with --axptr-seed={item.config.option.axptr_seed}"))
    return report


# ---- Fixtures. ----


@pytest.fixture
def aspace() -> Iterator[AddrSpace]:
    """A fresh AddrSpace of 64 MiB with nothing mapped, closed after the test."""
    from axptr_native import AddrSpace

    with AddrSpace(ASPACE_SIZE) as space:
        yield space


@pytest.fixture
def guard_page_after() -> Iterator[Callable[..., Region]]:
    """Data that ends where a page that allows no access begins: guard_page_after(data, align=1) -> Region."""
    yield from _regions("guard_page_after")


@pytest.fixture
def guard_page_before() -> Iterator[Callable[..., Region]]:
    """Data that starts where a page that allows no access ends: guard_page_before(data) -> Region."""
    yield from _regions("guard_page_before")


@pytest.fixture
def read_only() -> Iterator[Callable[..., Region]]:
    """Data that can be read and not written: read_only(data) -> Region."""
    yield from _regions("read_only")


@pytest.fixture
def no_access() -> Iterator[Callable[..., Region]]:
    """Mapped memory of which no byte can be accessed: no_access(size) -> Region."""
    yield from _regions("no_access")


@pytest.fixture
def truncated_file() -> Iterator[Callable[..., Region]]:
    """Data that ends where its mapped file does, with SIGBUS beyond: truncated_file(data) -> Region."""
    yield from _regions("truncated_file")


@pytest.fixture
def hole() -> Iterator[Callable[..., Region]]:
    """An address where nothing is mapped: hole() -> Region."""
    yield from _regions("hole")


@pytest.fixture
def non_canonical() -> Iterator[Callable[..., Region]]:
    """An address that the processor cannot form: non_canonical() -> Region; OSError where there is none."""
    yield from _regions("non_canonical")


@pytest.fixture
def straddling() -> Iterator[Callable[..., Region]]:
    """Data whose first ``at`` bytes are good and whose rest is not: straddling(data, at) -> Region."""
    yield from _regions("straddling")


def _regions(name: str) -> Iterator[Callable[..., Region]]:
    """Give the function of this name, entering what it returns until the end of the test."""
    manager = getattr(import_module("axptr_native.testing"), name)
    with ExitStack() as entered:

        def make(*arguments: Any, **options: Any) -> Region:
            return entered.enter_context(manager(*arguments, **options))  # type: ignore[no-any-return]

        yield make


@pytest.fixture
def fail_usercopy(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[object]]:
    """Guarded accesses that fail by chance in its ``with`` block: fail_usercopy(probability=1.0, interval=1, ...).

    It is axptr_native.testing.fail_usercopy, but the seed, unless given, derives from --axptr-seed and the test: a
    failure repeats in any order and on any worker.
    """
    from axptr_native.testing import fail_usercopy
    from axptr_native.testing._seeds import derived_seeds

    item = request.node
    item.stash[_injects] = True
    # Not its nodeid: pytest-xdist appends the group's name to it.
    seeds = derived_seeds(request.config.option.axptr_seed, f"{item.parent.nodeid}::{item.name}")

    def make(**options: Any) -> AbstractContextManager[object]:
        seed = options.pop("seed", None)
        made: AbstractContextManager[object] = fail_usercopy(seed=next(seeds) if seed is None else seed, **options)
        return made

    return make
