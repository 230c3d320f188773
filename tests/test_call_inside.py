# SPDX-License-Identifier: MIT
"""What runs inside a guarded call: other threads, accesses, callbacks, signals, and a function's own recovery."""

import ctypes
import errno
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from child import address_of
from helpers_call import BAD, fault_of_call
from helpers_memory import READ, WRITE, fault_of, faulted, seen
from helpers_platform import c_read
from helpers_processor import as_told

from axptr_native import PAGE_SIZE, FaultError, FaultReason, is_accessing_user_memory
from axptr_native._native import lib
from axptr_native._regions import Ending, Region
from axptr_native.call import guarded, guarded_call
from axptr_native.uaccess import copy_from_user


def test_the_gil_is_dropped_during_a_call() -> None:
    """A guarded read of a pipe waits until another thread of Python has written to it."""
    reader, writer = os.pipe()
    buffer = ctypes.create_string_buffer(8)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(guarded_call, c_read(), reader, buffer, 8)
        os.write(writer, b"written")
        assert waiting.result() == 7
    os.close(reader)
    os.close(writer)


def test_an_access_of_this_library_inside_a_call_finds_its_own_fault(callee: Any, region: Region) -> None:
    """A function that calls axp_copy_from_user gets -EFAULT from it, and goes on."""
    access = ctypes.c_void_p(address_of(lib.axp_copy_from_user))
    to = ctypes.create_string_buffer(16)
    assert guarded_call(callee.call_with_three, access, to, region.edge - 8, 16) == 1000 - errno.EFAULT
    assert guarded_call(callee.call_with_three, access, to, region.edge - 16, 16) == 1000


def test_a_fault_of_the_functions_own_in_such_an_access_is_the_calls(callee: Any, region: Region) -> None:
    """Where the buffer that the function names as its own is bad, the function has faulted."""
    access = ctypes.c_void_p(address_of(lib.axp_copy_from_user))
    error = fault_of_call(callee.call_with_three, access, BAD, region.start, 16)
    assert (error.address & -PAGE_SIZE, error.access) == (0, WRITE)
    assert seen(fault_of_call(callee.read_at, BAD)) == faulted(16, 0, FaultReason.NOT_MAPPED, READ)


@pytest.fixture
def remember(callee: Any) -> Iterator[Callable[[Callable[[int], int]], None]]:
    """Give the library a callback before any call, as is unguarded: a call cannot know of it."""
    kept = []

    def body(function: Callable[[int], int]) -> None:
        kept.append(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(function))
        callee.remember(kept[-1])

    yield body
    callee.remember(None)


def test_python_that_the_library_calls_back_makes_guarded_calls_and_accesses_itself(
    callee: Any, region: Region, ending: Ending, remember: Callable[[Callable[[int], int]], None]
) -> None:
    """Inside a callback faults are exceptions as elsewhere, and the call around it returns what it would."""
    found: list[FaultError] = []
    marks: list[bool] = []

    def called_back(value: int) -> int:
        found.append(fault_of_call(callee.read_at, region.edge))
        found.append(fault_of(lambda: copy_from_user(region.edge - 3, 8), "an access"))
        if value > 0:
            assert guarded_call(callee.call_remembered, value - 1) == value
        marks.append(is_accessing_user_memory())
        return value

    remember(called_back)
    assert guarded_call(callee.call_remembered, 5) == 6
    expected = [faulted(region.edge, 0, ending.value, READ), faulted(region.edge, 3, ending.value, READ)]
    assert [seen(error) for error in found] == expected * 6
    assert marks == [False] * 6


def test_a_fault_after_a_callback_has_returned_is_an_exception(
    callee: Any, remember: Callable[[Callable[[int], int]], None]
) -> None:
    """Python code that the function called, and that is done, does not stand in the way."""
    values: list[int] = []
    remember(lambda value: values.append(value) or 0)  # type: ignore[func-returns-value]
    error = fault_of_call(callee.call_remembered_and_read, 7, BAD)
    assert (values, error.address) == ([7], as_told(16))


def test_a_function_that_jumps_back_by_itself_returns(callee: Any) -> None:
    """Inside a function, setjmp and longjmp are its own affair."""
    assert guarded_call(callee.jump_back, 42) == 42


def test_a_function_that_recovers_from_faults_by_itself_does(callee: Any) -> None:
    """A function with a SIGSEGV handler of its own gets its fault, and the next one is the call's again."""
    assert guarded_call(callee.recover_by_itself, BAD) == signal.SIGSEGV
    assert fault_of_call(callee.read_at, BAD).address == as_told(16)


@pytest.mark.parametrize("bad", [False, True], ids=["returns", "faults"])
def test_signals_during_a_call_reach_their_handlers(callee: Any, bad: bool) -> None:
    """A handler of the function's own is called a thousand times, and the call ends as it would."""
    if bad:
        assert fault_of_call(callee.await_signals, signal.SIGUSR1, 1000, BAD).address == as_told(16)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # the function has not put it back
    else:
        assert guarded_call(callee.await_signals, signal.SIGUSR1, 1000, None) == 1000


def test_a_python_handler_runs_after_the_call(callee: Any) -> None:
    """A signal that comes during a call is handled by Python as soon as that is over."""
    came: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: came.append(number))
    try:
        guarded_call(callee["raise"], signal.SIGUSR2)
        assert came == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_guarded_keeps_what_is_set_later(callee: Any) -> None:
    """argtypes, restype and errcheck are those of the function at each call."""
    same = guarded(callee.same_int8)
    assert same(7) == 7
    callee.same_int8.argtypes, callee.same_int8.restype = [ctypes.c_int8], ctypes.c_int8
    assert same(-7) == -7
    with pytest.raises(ValueError, match="200 does not fit c_byte"):
        same(200)
    callee.same_int8.errcheck = lambda result, _, arguments: (result, arguments)
    assert same(5) == (5, (5,))
    assert repr(same) == "<GuardedFunction same_int8>"
