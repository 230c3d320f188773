# SPDX-License-Identifier: MIT
"""Mapping through the C ABI, and the stack of fault records."""

import ctypes
import errno
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FrameType
from typing import IO, Any

import pytest
from helpers_memory import END, READ_ONLY, gap_memory, good_memory, pattern, peek, poke

from axptr_native import PAGE_SIZE, FaultError, FaultReason, MappingFlags, uaccess
from axptr_native._memory import READ_WRITE
from axptr_native._native import (
    ADDRESS_MAX,
    FAULTS_KEPT,
    MAP_FIXED,
    MAP_POPULATE,
    MAP_RESERVE,
    MAP_SHARED,
    Fault,
    check_status,
    lib,
)
from axptr_native._regions import Ending, ending_memory

READ, WRITE, EXECUTE = MappingFlags.READ, MappingFlags.WRITE, MappingFlags.EXECUTE
NO_RECORD = -errno.ENOENT


@pytest.fixture(autouse=True)
def _no_records_left_over() -> Iterator[None]:
    """Each test starts with an empty stack of records and leaves one: whoever fails takes its record."""
    while lib.axp_take_fault(Fault()) == 0:
        pass
    yield
    assert lib.axp_take_fault(Fault()) == NO_RECORD


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    """A file of two pages and a half."""
    with tempfile.TemporaryFile() as opened:
        opened.write(pattern(2 * PAGE_SIZE + PAGE_SIZE // 2))
        opened.flush()
        yield opened


def map_at(
    start: int, size: int, flags: int = READ_WRITE, options: int = 0, file: int = -1, offset: int = 0
) -> tuple[int, int]:
    """Return axp_map's status and where it mapped."""
    mapped = ctypes.c_void_p(0xABCD)
    status = lib.axp_map(start, size, flags, options, file, offset, mapped)
    return status, mapped.value or 0


def test_a_mapping_is_there_until_it_is_unmapped() -> None:
    """axp_map gives zeros that can be written, and after axp_unmap a touch is NOT_MAPPED."""
    status, start = map_at(0, 3 * PAGE_SIZE)
    assert status == 0
    assert start % PAGE_SIZE == 0
    assert uaccess.check_zeroed_user(start, 3 * PAGE_SIZE)
    assert uaccess.probe_write(start, 3 * PAGE_SIZE) == 3 * PAGE_SIZE
    assert lib.axp_unmap(start, 3 * PAGE_SIZE) == 0
    assert uaccess.probe_read(start, 1) == 0


def test_a_start_is_a_hint_unless_fixed() -> None:
    """Without MAP_FIXED a taken place is left alone; with it, it is replaced."""
    with good_memory(2) as taken:
        poke(taken, b"kept")
        status, elsewhere = map_at(taken, PAGE_SIZE)
        assert status == 0
        assert elsewhere not in range(taken, taken + 2 * PAGE_SIZE)
        assert peek(taken, 4) == b"kept"
        check_status(lib.axp_unmap(elsewhere, PAGE_SIZE))
        assert map_at(taken, PAGE_SIZE, options=MAP_FIXED) == (0, taken)
        assert peek(taken, 4) == bytes(4)


@pytest.mark.parametrize("options", [0, MAP_POPULATE, MAP_RESERVE])
def test_a_private_mapping_keeps_its_writes_to_itself(options: int, file: IO[bytes]) -> None:
    """It shows the file from the offset on, and what is written to it does not reach the file."""
    status, start = map_at(0, PAGE_SIZE, options=options, file=file.fileno(), offset=PAGE_SIZE)
    assert status == 0
    assert peek(start, PAGE_SIZE) == pattern(3 * PAGE_SIZE)[PAGE_SIZE : 2 * PAGE_SIZE]
    uaccess.clear_user(start, PAGE_SIZE)
    check_status(lib.axp_unmap(start, PAGE_SIZE))
    file.seek(PAGE_SIZE)
    assert file.read(PAGE_SIZE) == pattern(3 * PAGE_SIZE)[PAGE_SIZE : 2 * PAGE_SIZE]


def test_a_shared_mapping_writes_to_the_file(file: IO[bytes]) -> None:
    """What copy_to_user writes is in the file, and the rest of its last page is zeros, not a fault."""
    status, start = map_at(0, 3 * PAGE_SIZE, options=MAP_SHARED, file=file.fileno())
    assert status == 0
    uaccess.copy_to_user(start + 5, b"written")
    assert os.pread(file.fileno(), 7, 5) == b"written"
    assert uaccess.check_zeroed_user(start + 2 * PAGE_SIZE + PAGE_SIZE // 2, PAGE_SIZE // 2)
    check_status(lib.axp_unmap(start, 3 * PAGE_SIZE))


def test_impossible_mappings_are_refused_with_the_system_s_error(file: IO[bytes]) -> None:
    """axp_map returns a negative errno, writes no result and leaves no fault record."""
    untouched = 0xABCD
    assert map_at(0, 0) == (-errno.EINVAL, untouched)
    assert map_at(PAGE_SIZE * 1000 + 1, PAGE_SIZE, options=MAP_FIXED) == (-errno.EINVAL, untouched)
    assert map_at(0, PAGE_SIZE, file=file.fileno(), offset=1) == (-errno.EINVAL, untouched)
    assert map_at(0, PAGE_SIZE, file=file.fileno(), offset=2**63) == (-errno.EOVERFLOW, untouched)
    assert map_at(0, PAGE_SIZE, file=file.fileno(), offset=2**64 - PAGE_SIZE) == (-errno.EOVERFLOW, untouched)
    assert map_at(0, ADDRESS_MAX // 16 * 15) == (-errno.ENOMEM, untouched)
    assert map_at(0, ADDRESS_MAX) == (-errno.ENOMEM, untouched)
    read_end, write_end = os.pipe()
    try:
        assert map_at(0, PAGE_SIZE, file=read_end)[0] in (-errno.ENODEV, -errno.EACCES)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert map_at(0, PAGE_SIZE, file=read_end) == (-errno.EBADF, untouched)


def test_a_file_opened_for_reading_cannot_be_mapped_to_be_written(file: IO[bytes]) -> None:
    """A shared writable mapping of it is EACCES, a private one is not."""
    reader = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
    try:
        assert map_at(0, PAGE_SIZE, options=MAP_SHARED, file=reader)[0] == -errno.EACCES
        status, start = map_at(0, PAGE_SIZE, file=reader)
        assert status == 0
        check_status(lib.axp_unmap(start, PAGE_SIZE))
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("flags", "readable", "writable"),
    [(0, 0, 0), (READ, 1, 0), (READ_WRITE, 1, 1), (READ | EXECUTE, 1, 0), (READ_WRITE | EXECUTE, 1, 1)],
)
def test_protection_is_what_probes_then_see(flags: int, readable: int, writable: int) -> None:
    """axp_protect makes pages readable and writable as told, and those beside them stay."""
    with good_memory(3) as start:
        assert lib.axp_protect(start + PAGE_SIZE, PAGE_SIZE, flags) == 0
        assert uaccess.probe_read(start + PAGE_SIZE, 1) == readable
        assert uaccess.probe_write(start + PAGE_SIZE, 1) == writable
        assert uaccess.probe_write(start, PAGE_SIZE) == PAGE_SIZE
        assert uaccess.probe_write(start + 2 * PAGE_SIZE, PAGE_SIZE) == PAGE_SIZE


def test_protecting_or_unmapping_the_impossible_is_refused() -> None:
    """A hole is ENOMEM to axp_protect, an unaligned start EINVAL to both; unmapping a hole succeeds."""
    with gap_memory(Ending.HOLE) as gap:
        assert lib.axp_protect(gap.edge, PAGE_SIZE, READ) == -errno.ENOMEM
        assert lib.axp_protect(gap.start + 1, PAGE_SIZE, READ) == -errno.EINVAL
        assert lib.axp_unmap(gap.start + 1, PAGE_SIZE) == -errno.EINVAL
        assert lib.axp_unmap(gap.start, 0) == -errno.EINVAL
        assert lib.axp_unmap(gap.edge, PAGE_SIZE) == 0
        assert lib.axp_protect(gap.start, 0, 0) == 0
        assert uaccess.probe_write(gap.start, 2 * PAGE_SIZE) == 2 * PAGE_SIZE


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Ending.HOLE, -errno.ENOMEM),
        (Ending.PROTECTION, -errno.EINVAL),
        (Ending.END_OF_FILE, -errno.EFAULT),
    ],
)
@pytest.mark.parametrize("access", [READ, WRITE])
def test_populating_bad_memory_tells_why_and_leaves_no_record(
    access: MappingFlags, kind: Ending, expected: int
) -> None:
    """A hole is ENOMEM, no access EINVAL, past the end EFAULT, whether it starts there or ends there."""
    with gap_memory(kind) as gap:
        assert lib.axp_populate(gap.start, 2 * PAGE_SIZE, access) == 0
        assert lib.axp_populate(gap.resume, 2 * PAGE_SIZE, access) == 0
        assert lib.axp_populate(gap.edge, PAGE_SIZE, access) == expected
        assert lib.axp_populate(gap.start, 3 * PAGE_SIZE, access) == expected
        assert lib.axp_populate(gap.start, 6 * PAGE_SIZE, access) == expected
        assert lib.axp_populate(gap.edge + PAGE_SIZE, 3 * PAGE_SIZE, access) == expected
        assert lib.axp_take_fault(Fault()) == NO_RECORD


def test_populating_read_only_memory_for_writing_is_refused() -> None:
    """EINVAL for WRITE, success for READ, and the contents stay."""
    with gap_memory(READ_ONLY) as gap:
        assert lib.axp_populate(gap.edge, 2 * PAGE_SIZE, READ) == 0
        assert lib.axp_populate(gap.start, 6 * PAGE_SIZE, READ) == 0
        assert lib.axp_populate(gap.edge, 2 * PAGE_SIZE, WRITE) == -errno.EINVAL
        assert lib.axp_populate(gap.start, 6 * PAGE_SIZE, WRITE) == -errno.EINVAL


def test_populating_keeps_what_is_there() -> None:
    """Contents are the same after it."""
    with good_memory(2) as start:
        poke(start, pattern(2 * PAGE_SIZE))
        assert lib.axp_populate(start, 2 * PAGE_SIZE, WRITE) == 0
        assert lib.axp_populate(start, 2 * PAGE_SIZE, READ) == 0
        assert peek(start, 2 * PAGE_SIZE) == pattern(2 * PAGE_SIZE)


def test_populate_takes_one_access_and_an_aligned_start() -> None:
    """EINVAL for no access, several, EXECUTE or an unaligned start; the null page is a hole."""
    with good_memory(2) as start:
        for access in (0, 3, 4, 5, 2**31):
            assert lib.axp_populate(start, PAGE_SIZE, access) == -errno.EINVAL, access
        assert lib.axp_populate(start + 1, PAGE_SIZE, READ) == -errno.EINVAL
    for access in (READ, WRITE):
        assert lib.axp_populate(0, PAGE_SIZE, access) == -errno.ENOMEM
        assert lib.axp_populate(END - 2 * PAGE_SIZE, PAGE_SIZE, access) == -errno.ENOMEM


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
        accerr = 2
        assert seen == [region.edge, 5, WRITE, FaultReason.NOT_PERMITTED.value, signal.SIGSEGV, accerr]
    assert lib.axp_copy_to_user(ADDRESS_MAX - 4, bytes(9), 9) == -errno.EFAULT
    assert lib.axp_take_fault(fault) == 0
    seen = [fault.address, fault.transferred, fault.access, fault.reason, fault.signal, fault.code]
    assert seen == [ADDRESS_MAX - 4, 0, WRITE, FaultReason.OUT_OF_RANGE.value, 0, 0]


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


def test_wrong_widths_are_einval_and_no_fault() -> None:
    """Word operations of a width that is none touch nothing, and leave no record."""
    spare = ctypes.create_string_buffer(32)
    own = ctypes.addressof(spare)
    calls: list[Callable[[int], Any]] = [
        lambda width: lib.axp_load(1, width, own),
        lambda width: lib.axp_store(1, width, own),
        lambda width: lib.axp_atomic_load(1, width, own),
        lambda width: lib.axp_atomic_store(1, width, own),
        lambda width: lib.axp_atomic_exchange(1, width, own, own),
        lambda width: lib.axp_atomic_compare_exchange(1, width, own, own, own),
        lambda width: lib.axp_atomic_fetch_add(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_and(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_or(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_xor(1, width, own, own),
        lambda width: lib.axp_strnlen_user(1, width, 5, ctypes.c_void_p()),
    ]
    for number, call in enumerate(calls):
        for width in (0, 3, 5, 6, 7, 9, 16, END // 2 + 1, END // 2, END - 1):
            assert call(width) == -errno.EINVAL, (number, width)
    assert bytes(spare) == bytes(32)


def test_wide_strings_whose_size_overflows_are_refused() -> None:
    """A product of limit and width beyond the address space is OUT_OF_RANGE and does not wrap onto the good start."""
    words = (ctypes.c_uint64 * 4)(1, 2, 0, 3)
    count, half = ctypes.c_void_p(99), END // 2
    for width, limit in (
        (2, half),
        (2, half + 1),
        (4, half // 2 + 1),
        (8, half // 4),
        (8, half // 4 + 2),
        (8, END - 1),
    ):
        assert lib.axp_strnlen_user(ctypes.addressof(words), width, limit, count) == -errno.EFAULT, (width, limit)
        fault = Fault()
        assert lib.axp_take_fault(fault) == 0
        assert (fault.reason, fault.signal) == (FaultReason.OUT_OF_RANGE.value, 0), (width, limit)
    assert count.value == 99
    assert lib.axp_strnlen_user(ctypes.addressof(words), 8, 4, count) == 0
    assert count.value == 2


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
    assert most == FAULTS_KEPT - 1


class Word(ctypes.Structure):
    _fields_ = (("value", ctypes.c_uint64),)


def copy_twice(address: int, size: int) -> bytes:
    """Copy what there is, which is nothing, and then fail as the others do."""
    assert uaccess.copy_from_user(address, size, partial=True) == b""
    return uaccess.copy_from_user(address, size, release_gil=True)


IN_PYTHON: dict[str, Read] = {
    "copy_from_user, by keyword": lambda address, size: uaccess.copy_from_user(addr=address, size=size),
    "copy_from_user, partial": copy_twice,
    "copy_in_user": lambda address, size: uaccess.copy_in_user(address + PAGE_SIZE, address, size),
    "copy_struct_from_user": lambda address, size: uaccess.copy_struct_from_user(address, size, Word),
    "get_user": lambda address, _: uaccess.get_user(address, ctypes.c_uint64.__ctype_be__),
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
