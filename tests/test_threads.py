# SPDX-License-Identifier: MIT
"""Threads, alarms and nested attempts: every FaultError is its own."""

from pathlib import Path

import pytest
from child import Outcome, check, run

COMMON = """
import ctypes, faulthandler, os, signal, sys, threading, time
from child import *
no_core_dump()
"""

PACKAGE = """
import axptr_native
from axptr_native import _native
from axptr_native._regions import Ending, ending_memory
from axptr_native.uaccess import copy_from_user
HOLE = Ending.HOLE.value
"""

IN_THREADS = """
failures = []

def in_threads(bodies):
    def guarded(body):
        try:
            body()
        except BaseException as error:
            failures.append(repr(error))
    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert not failures, failures
"""


def lives(code: str, tmp_path: Path) -> Outcome:
    """Run code in a child, and assert that it came to its end without a word."""
    outcome = check(run(COMMON + IN_THREADS + code, cwd=tmp_path))
    assert outcome.stderr == ""
    return outcome


@pytest.mark.parametrize("company", ["", "faulthandler.enable()"], ids=["bare", "faulthandler"])
def test_many_threads_get_their_own_faults(company: str, tmp_path: Path) -> None:
    """32 threads with 2000 faults each, at different edges and offsets, see the exact fields of their own."""
    code = f"""
import contextlib
{company}
{PACKAGE}
sys.setswitchinterval(1e-5)
with contextlib.ExitStack() as stack:
    edges = [stack.enter_context(ending_memory(Ending.HOLE)).edge for _ in range(32)]
    def body_of(edge):
        def body():
            for number in range(2000):
                fault_exactly(edge, HOLE, signal.SIGSEGV, number % 63)
        return body
    in_threads(map(body_of, edges))
"""
    lives(code, tmp_path)


def test_large_copies_in_parallel_get_their_own_faults(tmp_path: Path) -> None:
    """Copies large enough to run without the GIL fault at the same time, each at its own edge."""
    code = f"""
{PACKAGE}
import contextlib
size = 1 << 20
with contextlib.ExitStack() as stack:
    edges = [stack.enter_context(ending_memory(Ending.HOLE, good=size)).edge for _ in range(8)]
    def body_of(edge, less):
        def body():
            for _ in range(50):
                try:
                    copy_from_user(edge - size + less, size)
                except axptr_native.FaultError as error:
                    assert (error.address, error.transferred) == (edge, size - less), error
                else:
                    raise AssertionError("no fault")
        return body
    in_threads([body_of(edge, 1 + number * 4097) for number, edge in enumerate(edges)])
"""
    lives(code, tmp_path)


def test_a_thread_with_everything_blocked_catches_its_faults(tmp_path: Path) -> None:
    """A thread that blocks every signal before its first access catches faults, and the others stay blocked."""
    code = f"""
{PACKAGE}
def body():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    guarded_faults()
    now = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert blocked - now == {{signal.SIGSEGV, signal.SIGBUS}}, blocked - now
    assert now <= blocked
in_threads([body] * 4)
"""
    lives(code, tmp_path)


def test_signals_blocked_later_are_unblocked_by_the_next_accesses(tmp_path: Path) -> None:
    """A thread that blocks the signals after its first access can fault again as soon as the clock has ticked."""
    code = f"""
{PACKAGE}
def body():
    guarded_faults()
    for _ in range(5):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        wait_for(
            lambda: not {{signal.SIGSEGV, signal.SIGBUS}} & signal.pthread_sigmask(signal.SIG_BLOCK, []),
            "still blocked",
        )
        guarded_faults()
in_threads([body, body])
body()
"""
    lives(code, tmp_path)


def test_a_handler_that_blocks_everything_and_passes_on_leaves_nothing_blocked(
    hostile_library: Path, tmp_path: Path
) -> None:
    """Faults that reach us through a handler with a full mask leave the mask as it was, one after the other."""
    code = f"""
{PACKAGE}
library = hostile({str(hostile_library)!r})
guarded_faults()
for _ in range(5):
    assert library.hostile_forward_blocking() == 0
    for _ in range(3):
        guarded_faults()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    axptr_native.handlers.install()
"""
    lives(code, tmp_path)


def test_handlers_put_back_by_somebody_who_kept_them_work_as_before(hostile_library: Path, tmp_path: Path) -> None:
    """What libc puts back of our action is less than was there: faults are caught, before and after install()."""
    code = f"""
{PACKAGE}
library = hostile({str(hostile_library)!r})
for _ in range(3):
    faulthandler.enable()
    faulthandler.disable()
    guarded_faults()
    axptr_native.handlers.install()
    guarded_faults()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
    assert all(state.on_top for state in axptr_native.handlers.status().values())
"""
    lives(code, tmp_path)


def test_install_unblocks_the_signals_at_once(tmp_path: Path) -> None:
    """A thread that cannot wait for the clock calls install() after it blocked the signals."""
    code = f"""
{PACKAGE}
guarded_faults()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGSEGV, signal.SIGBUS])
axptr_native.handlers.install()
guarded_faults()
"""
    lives(code, tmp_path)


def test_an_import_in_another_thread_serves_all(tmp_path: Path) -> None:
    """Imported first in a thread that has ended since, the package catches faults in the main thread and others."""
    code = f"""
def first():
    import axptr_native
    guarded_faults()
in_threads([first])
{PACKAGE}
guarded_faults()
in_threads([guarded_faults] * 3)
"""
    lives(code, tmp_path)


def test_an_alarm_that_faults_between_the_bytecodes_of_a_fault_takes_only_its_own(tmp_path: Path) -> None:
    """Under alarms every 0.2 ms whose Python handler faults too, 5000 faults of the main thread are each its own."""
    code = f"""
{PACKAGE}
with ending_memory(Ending.HOLE) as mine, ending_memory(Ending.END_OF_FILE) as other:
    count, inside = 0, False
    def on_alarm(number, frame):
        global count, inside
        if inside:
            return
        inside = True
        fault_exactly(other.edge, Ending.END_OF_FILE.value, signal.SIGBUS, count % 60)
        count += 1
        inside = False
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    number, deadline = 0, time.monotonic() + {30}
    while number < 5000 or count < 50:
        fault_exactly(mine.edge, HOLE, signal.SIGSEGV, number % 61)
        number += 1
        assert time.monotonic() < deadline, (number, count)
    signal.setitimer(signal.ITIMER_REAL, 0)
"""
    lives(code, tmp_path)


def test_an_attempt_nested_in_another_by_a_signal_handler_fails_alone(hostile_library: Path, tmp_path: Path) -> None:
    """A C handler that interrupts guarded copies and faults in one of its own gets its -EFAULT, they their bytes."""
    code = f"""
{PACKAGE}
library, lib = hostile({str(hostile_library)!r}), _native.lib
size = 1 << 19
source = os.urandom(size)
with ending_memory(Ending.HOLE) as bad, ending_memory(Ending.HOLE, good=size) as mine:
    _native.check_status(lib.axp_copy_to_user(mine.start, source, size))
    library.hostile_alarm_copies(
        address_of(lib.axp_is_accessing), address_of(lib.axp_copy_from_user), bad.edge - 7, 300
    )
    deadline = time.monotonic() + 30
    while library.hostile_nested_count() < 50:
        assert copy_from_user(mine.start, size) == source
        try:
            copy_from_user(mine.start + 1, size)
        except axptr_native.FaultError as error:
            fields = (error.address, error.transferred, error.size)
        assert fields == (mine.edge, size - 1, size), fields
        assert time.monotonic() < deadline, library.hostile_nested_count()
    library.hostile_stop_alarms()
    assert library.hostile_nested_wrong() == 0
    assert not axptr_native.is_accessing_user_memory()
"""
    lives(code, tmp_path)


def test_an_access_interrupted_by_a_handler_that_recovers_by_itself_still_catches_its_fault(
    hostile_library: Path, tmp_path: Path
) -> None:
    """A profiler's alarm that faults, and jumps back out of its own SIGSEGV handler, leaves the open access guarded."""
    code = f"""
library = hostile({str(hostile_library)!r})
library.hostile_install(signal.SIGSEGV, b"jump")
{PACKAGE}
lib, size = _native.lib, 1 << 19
source = os.urandom(size)
with ending_memory(Ending.HOLE, good=size) as mine:
    _native.check_status(lib.axp_copy_to_user(mine.start, source, size))
    library.hostile_alarm_recovers(address_of(lib.axp_is_accessing), 16, 300)
    deadline = time.monotonic() + 20
    while library.hostile_nested_count() < 50:
        fields = None
        try:
            copy_from_user(mine.start + 1, size)
        except axptr_native.FaultError as error:
            fields = (error.address, error.transferred, error.size)
        assert fields == (mine.edge, size - 1, size), fields
        assert time.monotonic() < deadline, library.hostile_nested_count()
    library.hostile_stop_alarms()
"""
    lives(code, tmp_path)


def test_the_mark_of_one_thread_is_not_seen_by_another(tmp_path: Path) -> None:
    """is_accessing_user_memory() belongs to the thread that is in access_user_memory()."""
    code = f"""
{PACKAGE}
seen = []
def inside():
    in_threads([lambda: seen.append(axptr_native.is_accessing_user_memory())])
    seen.append(axptr_native.is_accessing_user_memory())
axptr_native.access_user_memory(inside)
assert seen == [False, True], seen
"""
    lives(code, tmp_path)
