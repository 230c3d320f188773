# SPDX-License-Identifier: MIT
"""A forked child catches its faults as its parent did."""

import sys
from pathlib import Path

import pytest
from child import check, fork_outcomes, run, run_command

COMMON = """
import faulthandler, os, signal, sys, threading, warnings
from child import *
no_core_dump()
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads: it is what this is about
"""


def all_forks_end(code: str, returncode: int, tmp_path: Path) -> None:
    """Run code that forks, and assert how each fork ended and that it said nothing."""
    outcomes = fork_outcomes(run(COMMON + code, cwd=tmp_path))
    assert outcomes
    wrong = {case: outcome for case, outcome in outcomes.items() if outcome[::2] != (returncode, "")}
    assert wrong == {}


@pytest.mark.parametrize("company", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])
def test_a_child_catches_its_faults(company: str, tmp_path: Path) -> None:
    """Faults are caught in a child, in a child of a child, and in a thread of a child."""
    code = f"""
{company}
import axptr_native
guarded_faults()
def body(case):
    guarded_faults()
    thread = threading.Thread(target=guarded_faults)
    thread.start()
    thread.join()
    if int(case):
        pid = os.fork()
        if pid == 0:
            guarded_faults()
            os._exit(17)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 17
in_forks("0101", body)
guarded_faults()
"""
    all_forks_end(code, 0, tmp_path)


def test_a_child_still_dies_of_an_unguarded_fault(tmp_path: Path) -> None:
    """A fault that nobody guards kills the child and not the parent."""
    code = """
import axptr_native
in_forks("0123", lambda case: unguarded_fault(signal.SIGSEGV))
guarded_faults()
"""
    all_forks_end(code, -11, tmp_path)


def test_a_child_forked_in_a_thread_catches_its_faults(tmp_path: Path) -> None:
    """A thread other than the main one may fork: its child catches faults."""
    code = """
import axptr_native
thread = threading.Thread(target=in_forks, args=("01234567", lambda case: guarded_faults()))
thread.start()
thread.join()
"""
    all_forks_end(code, 0, tmp_path)


def test_a_child_forked_before_the_import_catches_its_faults(tmp_path: Path) -> None:
    """The import may come after the fork."""
    all_forks_end("in_forks('01', lambda case: guarded_faults())", 0, tmp_path)


def test_a_child_forked_during_installs_catches_its_faults_and_gets_on_top(
    hostile_library: Path, tmp_path: Path
) -> None:
    """Forked while C threads fight with install() for the top, a child is never locked out of installing."""
    code = f"""
import axptr_native
library = hostile({str(hostile_library)!r})
guarded_faults()  # imports here what each child would import
assert library.hostile_hammer(address_of(axptr_native._native.lib.axp_install), 2) == 0
def body(case):
    guarded_faults()
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    axptr_native.handlers.install()
    assert axptr_native.handlers.status()[signal.SIGSEGV].on_top
    assert axptr_native.handlers.status()[signal.SIGBUS].on_top
    guarded_faults()
in_forks(map(str, range(200)), body)
"""
    all_forks_end(code, 0, tmp_path)


PROGRAM = """
import multiprocessing, signal, sys
from child import *

{top}

def work(number):
    guarded_faults()
    return number + 1

if __name__ == "__main__":
    no_core_dump()
    {main}
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        assert pool.map(work, range(20), chunksize=1) == list(range(1, 21))
    if sys.platform != "win32":  # which has no signals
        crash = context.Process(target=unguarded_fault, args=(signal.SIGSEGV,))
        crash.start()
        crash.join(20)
        assert crash.exitcode == -signal.SIGSEGV, crash.exitcode
    guarded_faults()
    print("done")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("where", ["top", "main"])
def test_multiprocessing_children_catch_their_faults(method: str, where: str, tmp_path: Path) -> None:
    """Pools of every start method catch faults, and a crashing worker is reported by its signal."""
    program = tmp_path / "program.py"
    statements = {"top": "", "main": ""} | {where: "import axptr_native"}
    program.write_text(PROGRAM.format(**statements))
    outcome = check(run_command([sys.executable, str(program), method], cwd=tmp_path))
    assert (outcome.stdout, outcome.stderr) == ("done\n", "")
