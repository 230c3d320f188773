# SPDX-License-Identifier: MIT
"""Memory that ends, address spaces, and a C library that misbehaves, as fixtures."""

import ctypes
import errno
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from helpers_batch import GOOD_PAGES, GOOD_SIZE
from helpers_compiled import compile_library
from helpers_memory import good_memory, pattern, poke, require
from helpers_platform import NOT_HERE, PAGER
from helpers_python import IS_PYPY, NO_CALLS
from helpers_space import PAGED, Disk, spaced

from axptr_native import AddrSpace
from axptr_native._native import Fault, lib
from axptr_native._regions import Ending, Region, ending_memory


class _NotHere(pytest.Module):
    """A file of tests that is not imported."""

    def collect(self) -> NoReturn:
        pytest.skip(NOT_HERE[self.path.name], allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return _NotHere.from_parent(parent, path=module_path) if module_path.name in NOT_HERE else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        # With its parameters, the first of them, or none.
        for name in {item.name, item.name.partition("-")[0] + "]", getattr(item, "originalname", item.name)}:
            reason = NOT_HERE.get(f"{item.path.name}::{name}")
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip what makes guarded calls where this Python cannot."""
    try:
        yield
    except OSError as error:
        if not IS_PYPY or error.errno != errno.ENOTSUP or NO_CALLS not in str(error):
            raise
        pytest.skip(NO_CALLS)


@pytest.fixture(scope="session", autouse=True)
def gil_stays_off() -> Iterator[None]:
    """Where this interpreter runs without the GIL, nothing that the tests do turns it on."""
    yield
    assert not (sysconfig.get_config_var("Py_GIL_DISABLED") and sys._is_gil_enabled())  # type: ignore[attr-defined, unused-ignore]


@pytest.fixture
def no_records_left_over() -> Iterator[None]:
    """The test starts with an empty stack of fault records and leaves one: whoever fails takes its record."""
    while lib.axp_take_fault(Fault()) == 0:
        pass
    yield
    assert lib.axp_take_fault(Fault()) == -errno.ENOENT


@pytest.fixture(params=list(Ending), ids=lambda ending: ending.name.lower())
def ending(request: pytest.FixtureRequest) -> Ending:
    """Each way in which memory can end, as far as a fault there tells its reason."""
    value: Ending = request.param
    require(value)
    return value


@pytest.fixture
def region(ending: Ending) -> Iterator[Region]:
    """Two good pages and two bad ones."""
    with ending_memory(ending) as memory:
        yield memory


@pytest.fixture
def start() -> Iterator[int]:
    """The address of four good pages of a pattern, with bad memory beyond."""
    with good_memory(GOOD_PAGES) as memory:
        poke(memory, pattern(GOOD_SIZE))
        yield memory


@pytest.fixture
def space() -> Iterator[AddrSpace]:
    """A space of 16 pages."""
    with spaced(16) as made:
        yield made


@pytest.fixture
def disk(space: AddrSpace) -> Disk:
    """A disk of six pages of PAGED, mapped at the start of the space."""
    if sys.platform == "win32":
        pytest.skip(PAGER)
    made = Disk(PAGED)
    made.map(space)
    return made


@pytest.fixture(scope="session")
def hostile_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of what is in ``native``, compiled."""
    return compile_library("hostile", tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="session")
def callee_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of ``native/callee.c``, compiled."""
    return compile_library("callee", tmp_path_factory.mktemp("callee"))


@pytest.fixture
def callee(callee_library: Path) -> Any:
    """``native/callee.c``, with functions of this test's own, which honour errno."""
    return ctypes.CDLL(str(callee_library), use_errno=True)
