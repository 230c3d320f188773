# SPDX-License-Identifier: MIT
"""What an injected fault does to each operation: it is exact, and nothing is touched."""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from helpers_batch import GOOD_SIZE
from helpers_injection import expected_luck
from helpers_memory import END, READ, WRITE, fault_of, pattern, peek, poke, refused, seen
from helpers_platform import c_library
from helpers_space import RW, Disk

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultError,
    FaultReason,
    GuardedView,
    MappingFlags,
    ProcessSpace,
    UserConstPtr,
    UserMemoryError,
    UserPtr,
    VirtAddrRange,
    atomics,
    batch,
    check_null_terminated,
    check_region,
    guarded_call,
    uaccess,
)
from axptr_native._regions import Ending, Region, ending_memory
from axptr_native.check import Layout
from axptr_native.testing import fail_usercopy

INJECTED = FaultReason.INJECTED
TEXT = b"text that is longer than what is copied in one attempt with its measure, and so is measured first"
AT, SIZE = 64, 24
"""Where in the good memory an operation starts, and how many bytes it is about unless it says so."""
TARGET = 512
HUGE = END // 4 if END > 2**32 else END // 64
"""More bytes than there is room for, or in 32 bits as many as lie above any memory."""


class Pair(ctypes.Structure):
    """A structure of 16 bytes."""

    _fields_ = (("first", ctypes.c_uint64), ("second", ctypes.c_uint64))


class Operation(NamedTuple):
    """Something that accesses user memory once."""

    name: str
    run: Callable[[int], Any]
    access: MappingFlags = READ
    size: int | None = SIZE

    def __str__(self) -> str:
        return self.name


def view_of(memory: int) -> GuardedView:
    return GuardedView((ctypes.c_ubyte * GOOD_SIZE).from_address(memory))


def assign(target: Any, position: Any, value: object) -> None:
    target[position] = value


def set_value(reference: Any, value: object) -> None:
    reference.value = value


LONG = ctypes.c_uint64
POINTER: Any = ctypes.POINTER(ctypes.c_uint64)
OPERATIONS = [
    Operation("copy_from_user", lambda at: uaccess.copy_from_user(at, SIZE)),
    Operation("copy_from_user, large", lambda at: uaccess.copy_from_user(at, 2 * PAGE_SIZE), size=2 * PAGE_SIZE),
    Operation("copy_from_user, without the GIL", lambda at: uaccess.copy_from_user(at, SIZE, release_gil=True)),
    Operation("copy_from_user_into", lambda at: uaccess.copy_from_user_into(at, bytearray(SIZE))),
    Operation("copy_to_user", lambda at: uaccess.copy_to_user(at, bytes(SIZE)), WRITE),
    Operation("copy_in_user", lambda at: uaccess.copy_in_user(at + TARGET, at, SIZE)),
    Operation("copy_in_user, upwards", lambda at: uaccess.copy_in_user(at + 8, at, SIZE)),
    Operation("copy_in_user, upwards over pages", lambda at: uaccess.copy_in_user(at + 8, at, PAGE_SIZE),
              size=PAGE_SIZE),
    Operation("copy_in_user, onto itself", lambda at: uaccess.copy_in_user(at, at, SIZE)),
    Operation("clear_user", lambda at: uaccess.clear_user(at, SIZE), WRITE),
    Operation("get_user", lambda at: uaccess.get_user(at, LONG), size=8),
    Operation("put_user", lambda at: uaccess.put_user(at, LONG, 1), WRITE, 8),
    Operation("strnlen_user", lambda at: uaccess.strnlen_user(at, 200), size=200),
    Operation("strncpy_from_user", lambda at: uaccess.strncpy_from_user(at, 200), size=200),
    Operation("copy_struct_from_user", lambda at: uaccess.copy_struct_from_user(at, 20, Pair), size=20),
    Operation("check_zeroed_user", lambda at: uaccess.check_zeroed_user(at, SIZE)),
    Operation("find_in_user", lambda at: uaccess.find_in_user(at, SIZE, b"xy")),
    Operation("load", lambda at: atomics.load(at, LONG), size=8),
    Operation("store", lambda at: atomics.store(at, LONG, 1), WRITE, 8),
    Operation("exchange", lambda at: atomics.exchange(at, LONG, 1), WRITE, 8),
    Operation("compare_exchange", lambda at: atomics.compare_exchange(at, LONG, 0, 1), WRITE, 8),
    Operation("fetch_add", lambda at: atomics.fetch_add(at, LONG, 1), WRITE, 8),
    Operation("fetch_and", lambda at: atomics.fetch_and(at, LONG, 1), WRITE, 8),
    Operation("fetch_or", lambda at: atomics.fetch_or(at, LONG, 1), WRITE, 8),
    Operation("fetch_xor", lambda at: atomics.fetch_xor(at, LONG, 1), WRITE, 8),
    Operation("GuardedView's byte", lambda at: view_of(at)[0], size=1),
    Operation("GuardedView's bytes", lambda at: view_of(at)[:SIZE]),
    Operation("GuardedView's bytes, backwards", lambda at: view_of(at)[SIZE - 1 :: -1]),
    Operation("GuardedView's bytes, set", lambda at: assign(view_of(at), slice(SIZE), bytes(SIZE)), WRITE),
    Operation("GuardedView's bytes, from itself",
              lambda at: assign(view_of(at), slice(SIZE), (ctypes.c_ubyte * SIZE).from_address(at + 8)), WRITE),
    Operation("GuardedView.find", lambda at: view_of(at).find(b"xy", 0, SIZE)),
    Operation("GuardedView.read_into", lambda at: view_of(at).read_into(bytearray(SIZE))),
    Operation("GuardedView.unpack_from", lambda at: view_of(at).unpack_from("=24s")),
    Operation("UserPtr.get", lambda at: UserPtr[LONG](at).get(), WRITE, 8),
    Operation("UserConstPtr.get", lambda at: UserConstPtr[LONG](at).get(), size=8),
    Operation("get_as_slice", lambda at: UserConstPtr[LONG](at).get_as_slice(3)),
    Operation("get_as_null_terminated", lambda at: UserConstPtr[LONG](at).get_as_null_terminated(limit=5), size=40),
    Operation("get_as_str", lambda at: UserConstPtr[ctypes.c_char](at).get_as_str(limit=200), size=200),
    Operation("follow", lambda at: UserConstPtr[POINTER](at).follow(), size=ctypes.sizeof(POINTER)),
    Operation("check_region", lambda at: check_region(ProcessSpace(), at, Layout.of(LONG, 3), RW), WRITE),
    Operation("check_null_terminated",
              lambda at: check_null_terminated(ProcessSpace(), at, ctypes.c_char, READ, 200), size=200),
    Operation("ProcessSpace.read", lambda at: ProcessSpace().read(at, SIZE)),
    Operation("ProcessSpace.write", lambda at: ProcessSpace().write(at, bytes(SIZE)), WRITE),
]  # fmt: skip


@pytest.fixture
def at(start: int) -> Iterator[int]:
    """The address of TEXT in good memory, which must be as it was when the test ends, and of zeros behind that."""
    before = pattern(GOOD_SIZE)[:AT] + TEXT.ljust(GOOD_SIZE - AT, b"\0")
    poke(start, before)
    yield start + AT
    assert peek(start, GOOD_SIZE) == before


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_injected_fault_is_exact_and_touches_nothing(operation: Operation, at: int) -> None:
    """Reason, address, access, size, signal and transferred are exact, it is one call, and memory is as it was."""
    with fail_usercopy() as injection:
        error = fault_of(lambda: operation.run(at), operation.name)
    assert seen(error) == refused(at, INJECTED, operation.access)
    assert error.size == operation.size
    assert (injection.calls, injection.failures) == (1, 1)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_an_operation_is_one_call_when_it_goes_well(operation: Operation, start: int) -> None:
    """However many attempts and steps it takes, an operation is one access, and is as without injection."""
    poke(start, TEXT.ljust(GOOD_SIZE, b"\0"))
    expected = outcome(operation, start)
    poke(start, TEXT.ljust(GOOD_SIZE, b"\0"))
    with fail_usercopy(probability=0.0) as injection:
        assert outcome(operation, start) == expected
    assert (injection.calls, injection.failures) == (1, 0)


def outcome(operation: Operation, at: int) -> str:
    """Return what an operation returns or raises, and what memory holds then."""
    try:
        result = operation.run(at)
    except UserMemoryError as error:
        result = error
    return f"{bytes(result) if isinstance(result, Pair) else result!r} {peek(at, GOOD_SIZE)!r}"


@pytest.mark.parametrize("good", [0, 1, 3000])
def test_a_real_fault_is_one_call_and_stays_real(good: int, region: Region) -> None:
    """An access that is let through faults as it would without injection, and trying it again asks nobody."""
    expected = fault_of(lambda: uaccess.copy_from_user(region.edge - good, PAGE_SIZE), "without injection")
    with fail_usercopy(probability=0.0) as injection:
        error = fault_of(lambda: uaccess.copy_from_user(region.edge - good, PAGE_SIZE), "with it")
    assert seen(error) == seen(expected)
    assert error.reason is not INJECTED
    assert injection.calls == 1


REAL = [
    Operation("copy_in_user", lambda edge: uaccess.copy_in_user(edge - PAGE_SIZE, edge - 20, 40)),
    Operation("copy_in_user, upwards", lambda edge: uaccess.copy_in_user(edge - PAGE_SIZE, edge - PAGE_SIZE - 9, 9000)),
    Operation("find_in_user", lambda edge: uaccess.find_in_user(edge - 200, 400, b"xy")),
    Operation("strncpy_from_user", lambda edge: uaccess.strncpy_from_user(edge - 200, 400)),
    Operation("strnlen_user", lambda edge: uaccess.strnlen_user(edge - 200, 400)),
    Operation("copy_struct_from_user", lambda edge: uaccess.copy_struct_from_user(edge - 16, 32, Pair)),
    Operation("UserPtr.get", lambda edge: UserPtr[LONG](edge).get()),
    Operation("get_as_str", lambda edge: UserConstPtr[ctypes.c_char](edge - 30).get_as_str()),
    Operation("check_region", lambda edge: check_region(ProcessSpace(), edge - 8, Layout(16, 8), RW)),
    Operation("more than there is room for", lambda edge: uaccess.copy_from_user(edge - 20, HUGE)),
]


@pytest.mark.parametrize("operation", REAL, ids=str)
def test_a_real_fault_after_several_steps_is_one_call(operation: Operation, region: Region) -> None:
    """Of the probes, retries and looks that find out what a fault was, none is an access of its own."""
    poke(region.start, b"a" * (region.edge - region.start))
    expected = fault_of(lambda: operation.run(region.edge), "without injection")
    with fail_usercopy(probability=0.0) as injection:
        error = fault_of(lambda: operation.run(region.edge), operation.name)
    assert seen(error) == seen(expected)
    assert injection.calls == 1
    with fail_usercopy(times=1) as injection:
        assert fault_of(lambda: operation.run(region.edge), operation.name).reason is INJECTED
    assert injection.calls == 1


def test_probes_find_nothing(at: int) -> None:
    """A probe says that 0 bytes can be accessed, and raises nothing."""
    with fail_usercopy() as injection:
        assert uaccess.probe_read(at, SIZE) == uaccess.probe_write(at, SIZE) == 0
        assert ProcessSpace().check_region_access(VirtAddrRange.from_start_size(at, SIZE), READ) is False
    assert injection.failures == injection.calls == 3


def test_a_partial_copy_is_empty(at: int) -> None:
    """``partial=True`` gives the bytes before the fault, of which there are none, whatever the size."""
    with fail_usercopy() as injection:
        assert uaccess.copy_from_user(at, SIZE, partial=True) == b""
        assert uaccess.copy_from_user(at, HUGE, partial=True) == b""
    assert injection.calls == 2


def test_a_failed_read_zeroes_its_buffer(at: int) -> None:
    """``copy_from_user_into`` and ``read_into`` leave all zeros."""
    own, other = bytearray(b"x" * SIZE), bytearray(b"x" * SIZE)
    with fail_usercopy():
        fault_of(lambda: uaccess.copy_from_user_into(at, own), "copy_from_user_into")
        fault_of(lambda: view_of(at).read_into(other), "read_into")
    assert own == other == bytes(SIZE)


def test_what_needs_no_memory_is_not_asked_about(at: int) -> None:
    """Size 0, misaligned atomics and spans that do not fit go as they do without injection."""
    with fail_usercopy() as injection:
        assert uaccess.copy_from_user(at, 0) == b""
        uaccess.copy_in_user(at, at, 0)
        assert uaccess.strncpy_from_user(at, 0) == b""
        assert fault_of(lambda: atomics.load(at + 1, LONG), "misaligned").reason is FaultReason.MISALIGNED
        assert fault_of(lambda: UserPtr[LONG](at + 1).get(), "misaligned").reason is FaultReason.MISALIGNED
        assert fault_of(lambda: uaccess.copy_from_user(2**64 - 1, 9), "too far").reason is FaultReason.OUT_OF_RANGE
    assert injection.calls == 0


def test_guarded_calls_are_not_asked_about() -> None:
    """What a foreign function accesses is not failed."""
    with fail_usercopy() as injection:
        assert guarded_call(c_library().labs, -3) == 3
    assert injection.calls == 0


def test_references_and_slices_are_asked_about_at_each_access(at: int) -> None:
    """After a ``get`` that went well, each use of what it returned is a call."""
    reference, elements = UserPtr[LONG](at).get(), UserPtr[LONG](at).get_as_slice(3)
    with fail_usercopy() as injection:
        for use in (
            lambda: reference.value,
            lambda: set_value(reference, 1),
            lambda: elements[0],
            lambda: assign(elements, 0, 1),
            elements.tobytes,
            elements.copy,
            lambda: elements.write(bytes(8)),
            lambda: list(elements),
        ):
            assert fault_of(use, "an access").reason is INJECTED
    assert injection.calls == 8


def batches(addresses: list[int]) -> dict[str, list[bool]]:
    """Return the entries that each function of a batch says were good."""
    size = len(addresses)
    return {
        "gather": list(map(bool, batch.gather_from_user(addresses, 8)[1])),
        "gather, any size": list(map(bool, batch.gather_from_user(addresses, 24)[1])),
        "scatter": list(map(bool, batch.scatter_to_user(addresses, bytes(8 * size)))),
        "probe": list(map(bool, batch.probe_many(addresses, 8))),
        "strings": [text is not None for text in batch.read_strings(addresses, 64)],
    }


def test_each_entry_of_a_batch_fails_by_itself(start: int) -> None:
    """Entries on one page fail as single accesses do, and one that failed spoils none of its page."""
    poke(start, bytes(GOOD_SIZE))
    addresses = [start + 8 * i for i in range(100)]
    expected = [luck == "." for luck in expected_luck(11, 0.3, 500)]
    with fail_usercopy(probability=0.3, seed=11) as injection:
        found = batches(addresses)
    assert [good for entries in found.values() for good in entries] == expected
    assert (injection.calls, injection.failures) == (500, expected.count(False))


def test_a_failed_entry_is_zeroed_or_not_written(start: int) -> None:
    """A gather's entry is zeros, a scatter's memory is as it was, and the other entries are right."""
    addresses = [start + 8 * i for i in range(10)]
    with fail_usercopy(interval=3) as injection:
        data, ok = batch.gather_from_user(addresses, 8)
    assert ok == bytes([1, 1, 0] * 3 + [1])
    assert data == b"".join(peek(at, 8) if good else bytes(8) for at, good in zip(addresses, ok, strict=True))
    before = [peek(at, 8) for at in addresses]
    with fail_usercopy(interval=3):
        assert batch.scatter_to_user(addresses, b"z" * 80) == ok
    assert [peek(at, 8) for at in addresses] == [
        b"z" * 8 if good else old for good, old in zip(ok, before, strict=True)
    ]
    assert injection.calls == 10


def test_entries_that_are_bad_anyhow_are_not_asked_about(start: int, region: Region) -> None:
    """What is no address or leaves the address space is bad without a call; a real fault is one, and stays bad."""
    with fail_usercopy(times=0) as injection:
        _, ok = batch.gather_from_user([start, -1, 2**64 - 1, region.edge, start, 2**70], 8)
    assert ok == bytes([1, 0, 0, 0, 1, 0])
    assert injection.calls == 3


def test_a_string_without_room_is_one_call(start: int) -> None:
    """A string that is longer than the room of the whole batch is read all the same, and asked about once."""
    long = b"q" * (GOOD_SIZE - 1)
    poke(start, long + b"\0")
    with ending_memory(Ending.HOLE, good=64 * PAGE_SIZE) as memory:
        poke(memory.start, (b"r" * (64 * PAGE_SIZE - 1)) + b"\0")
        with fail_usercopy(probability=0.0) as injection:
            texts = batch.read_strings([start, memory.start, start + 1], 1 << 20)
    assert texts == [long, b"r" * (64 * PAGE_SIZE - 1), long[1:]]
    assert injection.calls == 3


def test_no_pager_is_asked_about_an_injected_fault(space: AddrSpace, disk: Disk) -> None:
    """Memory that would be paged in fails at once, by each way in, and is paged in when nothing is injected."""
    ways: list[Callable[[], object]] = [
        lambda: uaccess.copy_from_user(space.base, 8),
        lambda: uaccess.copy_to_user(space.base, bytes(8)),
        lambda: uaccess.get_user(space.base, LONG),
        lambda: uaccess.strncpy_from_user(space.base, 3 * PAGE_SIZE),
        lambda: uaccess.copy_in_user(space.base + 8, space.base, 3 * PAGE_SIZE),
        lambda: space.read(space.base, 8),
        lambda: space.write(space.base, bytes(8)),
        lambda: UserPtr[LONG](space.base).get(space),
    ]
    with fail_usercopy() as injection:
        for way in ways:
            assert fault_of(way, "an access").reason is INJECTED
        assert uaccess.probe_read(space.base, 8) == 0
        assert batch.gather_from_user([space.base] * 3, 8)[1] == bytes(3)
        assert batch.read_strings([space.base] * 3, 8) == [None] * 3
    assert injection.calls == injection.failures == len(ways) + 7
    assert disk.asked == []
    assert space.paging.refused == 0
    assert uaccess.copy_from_user(space.base, PAGE_SIZE) == disk.data[:PAGE_SIZE]


@pytest.mark.usefixtures("disk")
def test_going_on_after_paging_in_is_no_new_call(space: AddrSpace) -> None:
    """However many pages an access brings in, it is one call, and so it is for each entry of a batch."""
    ways: list[Callable[[], object]] = [
        lambda: uaccess.copy_from_user(space.base, 5 * PAGE_SIZE),
        lambda: uaccess.copy_to_user(space.base, bytes(5 * PAGE_SIZE)),
        lambda: uaccess.copy_in_user(space.base + 8, space.base, 5 * PAGE_SIZE),
        lambda: uaccess.probe_write(space.base, 5 * PAGE_SIZE),
        lambda: uaccess.find_in_user(space.base, 5 * PAGE_SIZE, b"not there, not anywhere"),
        lambda: uaccess.strnlen_user(space.base, 5 * PAGE_SIZE),
        lambda: UserPtr[LONG](space.base + PAGE_SIZE).get(space),
    ]
    for way in ways:
        space.evict(space.base, 6 * PAGE_SIZE)
        with fail_usercopy(probability=0.0) as injection:
            way()
        assert injection.calls == 1
    space.evict(space.base, 6 * PAGE_SIZE)
    with fail_usercopy(probability=0.0) as injection:
        assert batch.gather_from_user([space.base + i * PAGE_SIZE for i in range(5)], 8)[1] == b"\1" * 5
    assert injection.calls == 5


def test_to_bring_pages_in_is_no_call(space: AddrSpace) -> None:
    """Populating succeeds while every access fails, also where the library has to touch each page."""
    area = space.map_alloc(space.base, 4 * PAGE_SIZE, RW)
    with fail_usercopy() as injection:
        space.populate_area(area.start, area.size, RW)
        ProcessSpace().populate_area(area.start, area.size, RW)
        space.map_alloc(None, PAGE_SIZE, RW, populate=True)
    assert injection.calls == 0


def test_a_pager_s_own_accesses_are_calls(space: AddrSpace, at: int) -> None:
    """What a pager accesses while an operation waits for it is asked about too, and its fault refuses the page."""

    def pager(*_: object) -> bytes:
        return uaccess.copy_from_user(at, 8).ljust(PAGE_SIZE, b"\0")

    space.map_pager(space.base, 3 * PAGE_SIZE, RW, pager)
    with fail_usercopy(probability=0.0) as injection:
        uaccess.copy_from_user(space.base, 2 * PAGE_SIZE)
    assert injection.calls == 3
    with fail_usercopy(interval=2) as injection:
        error = fault_of(lambda: uaccess.copy_from_user(space.base + 2 * PAGE_SIZE, 8), "a page in")
    assert error.reason is FaultReason.REFUSED
    assert isinstance(error.__cause__, FaultError)
    assert error.__cause__.reason is INJECTED
    assert injection.calls == 2
