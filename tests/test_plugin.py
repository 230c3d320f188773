# SPDX-License-Identifier: MIT
"""The pytest plugin around the tests: what it costs others, the header, the seed, and who is on top."""

import platform
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from helpers_plugin import HEADER, WORKERS, passes, run_suite, xdist

from axptr_native import PAGE_SIZE
from axptr_native.handlers import status
from axptr_native.testing._header import quick_cpu_name

pytest_plugins = ["pytester"]

each_way = pytest.mark.parametrize("options", [pytest.param((), id="alone"), WORKERS])

USES_THE_PACKAGE = """
    def test_uses_the_package():
        import axptr_native
"""


def seeds(text: str) -> list[str]:
    """Return the seeds that are told in a text."""
    return re.findall(r"--axptr-seed=(-?\d+)", text)


@each_way
def test_a_suite_without_the_package_does_not_notice_the_plugin(
    options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """Nothing of the package is imported, no handler changes, nothing is printed, and names are free for others."""
    tests = """
        import signal, sys
        import pytest

        @pytest.fixture
        def hole():
            return "this suite's own"

        def test_imports(hole):
            assert hole == "this suite's own"
            assert [name for name in sys.modules if name.startswith("axptr_native")] == ["axptr_native_pytest"]

        def test_handlers():
            numbers = [number for number in signal.Signals if number.name in ("SIGSEGV", "SIGBUS")]
            assert [signal.getsignal(number) for number in numbers] == [signal.SIG_DFL] * len(numbers)
    """
    session = passes(run_suite(pytester, tests, "-p", "no:faulthandler", *options), 2)
    assert session.header == []
    assert seeds(session.stdout) == []


def test_the_entry_point_is_the_module_beside_the_package() -> None:
    """Pytest finds the plugin under the name by which it can be turned off."""
    (found,) = (entry for entry in entry_points(group="pytest11") if entry.name == "axptr_native")
    assert found.value == "axptr_native_pytest"


def test_the_installed_plugin_is_loaded_and_can_be_turned_off(pytester: pytest.Pytester) -> None:
    """With pytest's autoload the marker and the fixtures are there; with -p no:axptr_native they are not."""
    tests = """
        import pytest

        @pytest.mark.must_crash(6)
        def test_marked(hole):
            import os
            os.abort()
    """
    passes(run_suite(pytester, tests, autoload=True), 1)
    session = run_suite(pytester, tests, "-p", "no:axptr_native", autoload=True)
    assert session.returncode == 2
    assert "'must_crash' not found in `markers` configuration option" in session.stdout


@pytest.mark.parametrize(
    ("conftest", "tests", "line_before"),
    [
        pytest.param("import axptr_native", "def test(): pass", "platform .*", id="conftest"),
        pytest.param("", "import axptr_native\ndef test(): pass", "collected 1 item", id="module"),
        pytest.param("", "def test(hole): hole()", "", id="fixture"),
        pytest.param("", USES_THE_PACKAGE, "", id="test"),
    ],
)
def test_the_header_is_told_once_when_the_package_is_used(
    conftest: str, tests: str, line_before: str, pytester: pytest.Pytester
) -> None:
    """It names the machine, the page size, our handler and the seed, as early as it can be known to be of use."""
    session = passes(run_suite(pytester, tests, "--axptr-seed=42", conftest=conftest), 1)
    (header,) = session.header
    cpu, pages, handlers, seed = header.removeprefix(HEADER).split("; ")
    assert cpu
    assert pages == f"pages of {PAGE_SIZE} bytes"
    signals = " and ".join(signal.name for signal in status())
    assert re.fullmatch(rf"{signals}: \w+ in \S*axptr_native\S*", handlers)
    assert seed == "--axptr-seed=42"
    lines = session.stdout.splitlines()
    assert re.fullmatch(line_before, lines[lines.index(header) - 1])


@xdist
@pytest.mark.parametrize("conftest", ["import axptr_native", ""], ids=["conftest", "test"])
def test_the_header_is_told_once_for_all_workers(conftest: str, pytester: pytest.Pytester) -> None:
    """Whether the first process uses the package or only its workers do."""
    session = run_suite(pytester, USES_THE_PACKAGE, "-p", "xdist", "-n", "2", "--axptr-seed=42", conftest=conftest)
    (header,) = passes(session, 1).header
    assert header.endswith("; --axptr-seed=42")


def test_a_verbose_header_tells_who_is_asked_next(pytester: pytest.Pytester) -> None:
    """With -v the handlers below ours are named; without symbols, as Debian has its Python, by where they are."""
    (header,) = run_suite(pytester, USES_THE_PACKAGE, "-v").header
    assert re.search(r"axptr_native\S*, then (faulthandler_fatal_error|0x[0-9a-f]+) in ", header)


@pytest.mark.parametrize("option", ["-q", "--no-header"])
def test_the_header_can_be_turned_off(option: str, pytester: pytest.Pytester) -> None:
    """As the rest of pytest's."""
    assert passes(run_suite(pytester, USES_THE_PACKAGE, option), 1).header == []


def test_the_cpu_is_what_linux_calls_it(tmp_path: Path) -> None:
    """The first model name of the file is taken, and nothing is asked or kept."""
    source = tmp_path / "cpuinfo"
    source.write_text("processor\t: 0\nmodel name\t: A Model: 1 GHz\nprocessor\t: 1\nmodel name\t: Another\n")
    assert quick_cpu_name(None, source) == "A Model: 1 GHz"


@pytest.mark.parametrize("text", [None, "processor\t: 0\nCPU part\t: 0xd0c\n"], ids=["no-file", "no-name"])
def test_a_cpu_that_linux_does_not_name_is_looked_up_once(
    text: str | None, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """What was found is kept in pytest's cache and taken from there, and without a cache it is the machine's kind."""
    cache = pytest.Cache(tmp_path / "cache", pytestconfig, _ispytest=True)
    source = tmp_path / "cpuinfo"
    if text is not None:
        source.write_text(text)
    name = quick_cpu_name(cache, source)
    assert name
    (kept,) = (path for path in (tmp_path / "cache").rglob("cpu-*"))
    kept.write_text('"kept"')
    assert quick_cpu_name(cache, source) == "kept"
    assert quick_cpu_name(None, source) == platform.machine()


SEED = """
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_seed(pytestconfig, record_property, number):
        record_property("seed", pytestconfig.option.axptr_seed)
        import axptr_native
"""


@each_way
@pytest.mark.parametrize("given", ["0", "-5", "123456789012345678901234567890", None])
def test_every_test_of_a_run_has_the_seed_of_the_header(
    given: str | None, options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """It is the one that was given, or any, and the same in all workers."""
    arguments = [] if given is None else [f"--axptr-seed={given}"]
    session = passes(run_suite(pytester, SEED, *arguments, *options), 6)
    (told,) = seeds("".join(session.header))
    assert told == (told if given is None else given)
    assert {str(call.properties["seed"]) for call in session.calls.values()} == {told}


def test_pytest_randomly_does_not_fix_the_seed(pytester: pytest.Pytester) -> None:
    """Two runs whose random module begins alike have seeds of their own."""
    pytest.importorskip("pytest_randomly", reason="pytest-randomly is not installed")
    options = ("-p", "randomly", "--randomly-seed=1")
    first, second = (run_suite(pytester, SEED, *options) for _ in range(2))
    assert seeds(first.stdout) != seeds(second.stdout)


def test_a_seed_that_is_no_number_is_a_usage_error(pytester: pytest.Pytester) -> None:
    """Pytest says so, and no test runs."""
    session = run_suite(pytester, SEED, "--axptr-seed=seven")
    assert session.returncode == pytest.ExitCode.USAGE_ERROR
    assert "argument --axptr-seed: invalid int value: 'seven'" in session.stderr


ON_TOP = """
    import faulthandler, sys
    import pytest
    from child import guarded_faults

    def on_top():
        from axptr_native.handlers import status
        return [entry.on_top for entry in status().values()]

    @pytest.fixture
    def enabled():
        assert on_top() == [True, True]
        faulthandler.disable()
        faulthandler.enable(sys.__stderr__)
        yield
        assert on_top() == [True, True]

    @pytest.mark.parametrize("number", range(4))
    def test_on_top(enabled, number):
        assert on_top() == [True, True]
        guarded_faults()
        faulthandler.disable()
        faulthandler.enable(sys.__stderr__)
        assert on_top() == [False, False]
"""


@each_way
@pytest.mark.parametrize("faulthandler", [(), ("-p", "no:faulthandler")], ids=["faulthandler", "no-faulthandler"])
def test_our_handlers_are_on_top_in_each_phase_of_a_test(
    faulthandler: tuple[str, ...], options: tuple[str, ...], pytester: pytest.Pytester
) -> None:
    """Whoever went on top when pytest began, in a fixture or in the test before is below in the next phase."""
    session = run_suite(pytester, ON_TOP, *faulthandler, *options, conftest="import axptr_native")
    passes(session, 4)
    assert "Fatal" not in session.stdout + session.stderr


def test_the_marker_and_the_option_are_documented(pytester: pytest.Pytester) -> None:
    """The lists of pytest have a line for each thing that the plugin offers."""
    markers = run_suite(pytester, "", "--markers").stdout
    assert "@pytest.mark.must_crash(signal, timeout=60): the test passes if its function, called in a child" in markers
    options = run_suite(pytester, "", "--help").stdout
    assert re.search(r"fault injection \(axptr-native\):\s+--axptr-seed=N\s+The seed of the faults", options)
    fixtures = run_suite(pytester, "", "--fixtures").stdout
    (section,) = re.findall(r"fixtures defined from axptr_native_pytest -+\n(.*?)\n\n\n", fixtures, re.DOTALL)
    documented = dict(re.findall(r"^(\w+) -- .*\n    (.+)$", section, re.MULTILINE))
    assert set(documented) == {
        "aspace",
        "fail_usercopy",
        "guard_page_after",
        "guard_page_before",
        "hole",
        "no_access",
        "non_canonical",
        "read_only",
        "straddling",
        "truncated_file",
    }
    assert [name for name, text in documented.items() if name != "aspace" and f"{name}(" not in text] == []
