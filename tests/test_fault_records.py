# SPDX-License-Identifier: MIT
"""The stack of fault records, as whoever fails leaves and takes them."""

import ctypes
import errno
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import CodeType, FrameType
from typing import Any

import pytest
from helpers_python import IS_PYPY

from axptr_native import PAGE_SIZE, FaultError, FaultReason, MappingFlags, uaccess
from axptr_native._native import ADDRESS_MAX, FAULTS_KEPT, Fault, lib
from axptr_native._regions import Ending, ending_memory

pytestmark = pytest.mark.usefixtures("no_records_left_over")

NO_RECORD = -errno.ENOENT
SEGV_ACCERR, ACCESS_VIOLATION = 2, ctypes.c_int(0xC000_0005).value


def fail_at(address: int) -> None:
    """Leave one more fault record of a read at an address where nothing can be."""
    assert lib.axp_copy_from_user(ctypes.create_string_buffer(8), address, 8) == -errno.EFAULT


def take() -> int:
    fault = Fault()
    status = lib.axp_take_fault(fault)
    return int(fault.address if status == 0 else status)


def test_without_a_fault_there_is_no_record() -> None:
    """-ENOENT, however often one asks, also after an access that went well; the result is not written."""
    fault = Fault(address=77)
    assert lib.axp_take_fault(fault) == NO_RECORD
    assert fault.address == 77
    uaccess.copy_from_user(id(fault), 8)
    assert [take(), take()] == [NO_RECORD, NO_RECORD]


def test_records_are_taken_newest_first() -> None:
    """Up to AXP_FAULTS_KEPT are kept, and taking them in between gives each its own."""
    for count in range(1, FAULTS_KEPT + 1):
        for number in range(count):
            fail_at(number)
        assert [take() for _ in range(count)] == list(range(count))[::-1]
        assert take() == NO_RECORD
    fail_at(1)
    fail_at(2)
    assert take() == 2
    fail_at(3)
    fail_at(4)
    assert [take(), take(), take(), take()] == [4, 3, 1, NO_RECORD]


@pytest.mark.parametrize("count", [FAULTS_KEPT + 1, 2 * FAULTS_KEPT - 1, 2 * FAULTS_KEPT, 5 * FAULTS_KEPT + 3])
def test_when_there_are_too_many_the_newest_are_kept(count: int) -> None:
    """Of more records than AXP_FAULTS_KEPT the oldest are forgotten, and no other."""
    for number in range(count):
        fail_at(number)
    newest_first = list(range(count))[::-1]
    assert [take() for _ in range(FAULTS_KEPT + 1)] == [*newest_first[:FAULTS_KEPT], NO_RECORD]


def test_a_record_has_every_field() -> None:
    """Address, bytes done, access, reason, signal and code of a real fault; of a refusal signal and code 0."""
    with ending_memory(Ending.PROTECTION) as region:
        assert lib.axp_copy_to_user(region.edge - 5, bytes(9), 9) == -errno.EFAULT
        fault = Fault()
        assert lib.axp_take_fault(fault) == 0
        seen = [fault.address, fault.transferred, fault.access, fault.reason, fault.signal, fault.code]
        denied = ACCESS_VIOLATION if sys.platform == "win32" else SEGV_ACCERR
        assert seen == [region.edge, 5, MappingFlags.WRITE, FaultReason.NOT_PERMITTED.value, signal.SIGSEGV, denied]
    assert lib.axp_copy_to_user(ADDRESS_MAX - 4, bytes(9), 9) == -errno.EFAULT
    assert lib.axp_take_fault(fault) == 0
    seen = [fault.address, fault.transferred, fault.access, fault.reason, fault.signal, fault.code]
    assert seen == [ADDRESS_MAX - 4, 0, MappingFlags.WRITE, FaultReason.OUT_OF_RANGE.value, 0, 0]


def test_records_belong_to_their_thread() -> None:
    """Another thread finds none of ours and leaves none to us."""
    fail_at(1)
    found: list[int] = []

    def other() -> None:
        found.append(take())
        fail_at(2)
        fail_at(3)
        found.append(take())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found == [NO_RECORD, 3]
    assert [take(), take()] == [1, NO_RECORD]


Read = Callable[[int, int], object]


def read(address: int, size: int, wrong: list[str], access: Read = uaccess.copy_from_user) -> None:
    """Read at a bad address, and note an error that is not of this access."""
    try:
        access(address, size)
    except FaultError as error:
        if (error.address, error.size) != (address, size):
            wrong.append(f"{error} for {address:#x} and {size}")
    else:
        wrong.append(f"no fault at {address:#x}")


def test_handlers_that_fault_never_mix_up_the_records(request: pytest.FixtureRequest) -> None:
    """Under a storm of signals, whose handler faults too and is interrupted itself, each error is of its own access."""
    depth = most = handled = rounds = 0
    wrong: list[str] = []

    def on_alarm(_signum: int, _frame: FrameType | None) -> None:
        nonlocal depth, most, handled
        if depth == FAULTS_KEPT - 1:
            return  # beyond that, records are lost by contract
        depth += 1
        most = max(most, depth)
        handled += 1
        read(1000 * depth, 7 + depth, wrong)
        if not IS_PYPY:  # which would begin with this one when this handler ends, over and over
            signal.raise_signal(signal.SIGALRM)
        read(1000 * depth + 1, 7 + depth, wrong)
        depth -= 1
        if depth == 0:  # armed only now, so that the storm leaves the main code some time on a slow machine
            signal.setitimer(signal.ITIMER_REAL, (1 + handled % 7) * 2e-5)

    def stop() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

    previous = signal.signal(signal.SIGALRM, on_alarm)
    request.addfinalizer(stop)
    signal.setitimer(signal.ITIMER_REAL, 2e-5)
    while handled < 3000 and not wrong:
        rounds += 1
        read(rounds % 1000, 64, wrong)
        if rounds % 1000 == 0:  # Python 3.11 may never look at a signal that the system gave to another thread
            signal.setitimer(signal.ITIMER_REAL, 2e-5)
    stop()
    assert wrong == []
    assert depth == 0
    assert most == (1 if IS_PYPY else FAULTS_KEPT - 1)


class Word(ctypes.Structure):
    _fields_ = (("value", ctypes.c_uint64),)


def copy_twice(address: int, size: int) -> bytes:
    """Copy what there is, which is nothing, and then fail as the others do."""
    assert uaccess.copy_from_user(address, size, partial=True) == b""
    return uaccess.copy_from_user(address, size, release_gil=True)


SWAPPED = ctypes.c_uint64.__ctype_be__ if sys.byteorder == "little" else ctypes.c_uint64.__ctype_le__

IN_PYTHON: dict[str, Read] = {
    "copy_from_user, by keyword": lambda address, size: uaccess.copy_from_user(addr=address, size=size),
    "copy_from_user, partial": copy_twice,
    "copy_in_user": lambda address, size: uaccess.copy_in_user(address + PAGE_SIZE, address, size),
    "copy_struct_from_user": lambda address, size: uaccess.copy_struct_from_user(address, size, Word),
    "get_user": lambda address, _: uaccess.get_user(address, SWAPPED),
    "check_zeroed_user": uaccess.check_zeroed_user,
    "clear_user": uaccess.clear_user,
}
"""Accesses to 8 bytes that take the library's way through ctypes also where there are builtins."""


@pytest.mark.parametrize("access", IN_PYTHON.values(), ids=IN_PYTHON)
def test_a_fault_between_any_two_instructions_of_the_library_disturbs_none(
    access: Read, request: pytest.FixtureRequest
) -> None:
    """An access that fails before each bytecode of another one takes its own record and leaves the other's."""
    wrong: list[str] = []
    interrupted: set[tuple[CodeType, int]] = set()
    interruptions = 0

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal interruptions
        frame.f_trace_opcodes = True
        interruptions += 1
        if frame.f_globals["__name__"].startswith("axptr_native."):
            interrupted.add((frame.f_code, frame.f_lasti))
        read(1000 + interruptions % 3000, 9, wrong)
        return trace

    request.addfinalizer(partial(sys.settrace, sys.gettrace()))
    for address in (5, 6, 7):
        sys.settrace(trace)
        read(address, 8, wrong)
        read(address, 8, wrong, access)
        sys.settrace(None)
    assert wrong == []
    assert len(interrupted) > 100
