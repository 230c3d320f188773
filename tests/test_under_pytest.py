# SPDX-License-Identifier: MIT
"""Imported from a conftest.py, before pytest enables faulthandler: faults are caught, in silence."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from child import BANNER, Outcome, check, run_command

FAULTS = """
import signal
import pytest
from child import fault_exactly, guarded_faults, no_core_dump, unguarded_fault

@pytest.mark.parametrize("part", range(4))
def test_faults(part):
    from axptr_native._regions import Ending, ending_memory
    with ending_memory(Ending.HOLE) as region:
        for _ in range(100):
            fault_exactly(region.edge, Ending.HOLE.value, signal.SIGSEGV)
    guarded_faults()
"""

CRASH = """
def test_crash():
    no_core_dump()
    unguarded_fault(signal.SIGSEGV)
"""

xdist = pytest.param(("-p", "xdist", "-n", "2"), id="two-workers", marks=pytest.mark.skipif(
    find_spec("xdist") is None, reason="pytest-xdist is not installed"
))  # fmt: skip
each_way = pytest.mark.parametrize("options", [pytest.param((), id="alone"), xdist])


def inner_pytest(
    tmp_path: Path, options: Sequence[str], *, conftest: str = "import axptr_native\n", tests: str = FAULTS
) -> Outcome:
    """Run pytest in a project of its own, without the plugins of this one that it does not need."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_inner.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *options]
    return run_command(command, cwd=tmp_path, environment={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


@each_way
@pytest.mark.parametrize("faulthandler", [(), ("-p", "no:faulthandler")], ids=["faulthandler", "no-faulthandler"])
def test_an_import_in_conftest_catches_faults_without_a_banner(
    options: tuple[str, ...], faulthandler: tuple[str, ...], tmp_path: Path
) -> None:
    """Tests that make a hundred faults each pass, and nothing of them is to be read."""
    outcome = check(inner_pytest(tmp_path, (*options, *faulthandler)))
    assert "4 passed" in outcome.stdout
    assert BANNER not in outcome.stdout + outcome.stderr


@each_way
def test_an_import_in_a_test_catches_faults_without_a_banner(options: tuple[str, ...], tmp_path: Path) -> None:
    """The package may as well be imported long after faulthandler was enabled."""
    outcome = check(inner_pytest(tmp_path, options, conftest=""))
    assert "4 passed" in outcome.stdout
    assert BANNER not in outcome.stdout + outcome.stderr


def test_a_crash_keeps_its_traceback(tmp_path: Path) -> None:
    """A test that really crashes after guarded faults kills pytest with one traceback that names it."""
    outcome = check(inner_pytest(tmp_path, (), tests=FAULTS + CRASH), -11)
    assert outcome.banners == 1
    assert "in test_crash" in outcome.stderr


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
def test_a_crash_in_a_worker_is_reported_for_its_test(tmp_path: Path) -> None:
    """Under xdist the crashing test fails alone, and the others pass."""
    outcome = check(inner_pytest(tmp_path, ("-p", "xdist", "-n", "2"), tests=FAULTS + CRASH), 1)
    assert "1 failed, 4 passed" in outcome.stdout
    assert "test_inner.py::test_crash" in outcome.stdout


def test_faults_are_caught_while_pytest_ends(tmp_path: Path) -> None:
    """After pytest has taken its faulthandler off again, guarded accesses in exit handlers are caught."""
    conftest = """
import atexit
import axptr_native
from child import guarded_faults, wait_until_on_top

def at_exit():
    wait_until_on_top()
    guarded_faults()
    print("caught at exit")

atexit.register(at_exit)
"""
    outcome = check(inner_pytest(tmp_path, (), conftest=conftest))
    assert outcome.stdout.endswith("caught at exit\n")
    assert outcome.banners == 0
