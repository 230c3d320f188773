# SPDX-License-Identifier: MIT
"""Demand paging: real faults ask the pager, accesses go on, and what was written comes back."""

import ctypes
import sys
import threading
from collections.abc import Callable

import pytest
from helpers_memory import END, READ, WRITE, fault_of
from helpers_space import NONE, PAGED, RW, Disk, in_threads, layout, no_file_left_open, spaced

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultError,
    FaultReason,
    MappingFlags,
    VirtAddr,
    atomics,
    is_accessing_user_memory,
    uaccess,
)

EDGE = 2 * PAGE_SIZE
"""An edge between two pages."""


class Pair(ctypes.Structure):
    _fields_ = (("first", ctypes.c_uint64), ("second", ctypes.c_uint64))


def word(offset: int, data: bytes = PAGED) -> int:
    return int.from_bytes(data[offset : offset + 8], sys.byteorder)


Reader = Callable[[int], object]
READERS: dict[str, tuple[Reader, object, list[int]]] = {
    "copy_from_user": (lambda a: uaccess.copy_from_user(a + EDGE - 5, 10), PAGED[EDGE - 5 : EDGE + 5], [1, 2]),
    "copy of one byte": (lambda a: uaccess.copy_from_user(a + EDGE, 1), PAGED[EDGE : EDGE + 1], [2]),
    "copy of all": (lambda a: uaccess.copy_from_user(a, len(PAGED)), PAGED, [0, 1, 2, 3, 4, 5]),
    "partial copy": (
        lambda a: uaccess.copy_from_user(a + len(PAGED) - 7, 20, partial=True),
        PAGED[-7:],
        [5],
    ),
    "get_user": (lambda a: uaccess.get_user(a + EDGE, ctypes.c_uint64), word(EDGE), [2]),
    "get_user over an edge": (lambda a: uaccess.get_user(a + EDGE - 3, ctypes.c_uint64), word(EDGE - 3), [1, 2]),
    "strnlen_user": (lambda a: uaccess.strnlen_user(a + 1, 3 * PAGE_SIZE), 3 * PAGE_SIZE, [0, 1, 2, 3]),
    "strncpy_from_user": (lambda a: uaccess.strncpy_from_user(a + EDGE - 9, 5 * PAGE_SIZE), PAGED[EDGE - 9 : -10], []),
    "check_zeroed_user": (lambda a: uaccess.check_zeroed_user(a + EDGE - 1, 2), False, [1]),
    "find_in_user": (
        lambda a: uaccess.find_in_user(a + 5, len(PAGED) - 5, PAGED[EDGE - 300 : EDGE + 3]),
        PAGED.index(PAGED[EDGE - 300 : EDGE + 3], 5) - 5,
        [],
    ),
    "find nothing": (lambda a: uaccess.find_in_user(a, len(PAGED), b"\xff\xff"), None, [0, 1, 2, 3, 4, 5]),
    "probe_read": (lambda a: uaccess.probe_read(a + 100, len(PAGED)), len(PAGED) - 100, [0, 1, 2, 3, 4, 5]),
    "copy_struct_from_user": (
        lambda a: bytes(uaccess.copy_struct_from_user(a + EDGE - 7, 16, Pair)),
        PAGED[EDGE - 7 : EDGE + 9],
        [1, 2],
    ),
    "load": (lambda a: atomics.load(a + EDGE + 8, ctypes.c_uint64), word(EDGE + 8), [2]),
}


@pytest.mark.parametrize("name", READERS)
def test_reads_page_in_what_they_touch(name: str, space: AddrSpace, disk: Disk) -> None:
    """Every reading operation returns the pager's bytes, and asks once, for reading, for each page that it touches."""
    read, expected, pages = READERS[name]
    if name == "strncpy_from_user":
        disk.data[-10] = 0
        pages = [1, 2, 3, 4, 5]
    assert read(disk.start) == expected
    assert {access for _, access in disk.asked} == {READ}
    assert sorted(set(disk.pages_asked)) == sorted(disk.pages_asked)
    assert not pages or disk.pages_asked == pages
    assert read(disk.start) == expected
    assert space.paging.pages_in == len(disk.asked)
    space.evict(space.base, space.size)
    assert disk.written == [], "a page that was only read was written back"


def overlapping(source: int, target: int, size: int) -> bytes:
    changed = bytearray(PAGED)
    changed[target : target + size] = PAGED[source : source + size]
    return bytes(changed)


def replaced(offset: int, data: bytes) -> bytes:
    return PAGED[:offset] + data + PAGED[offset + len(data) :]


def stored(value: int, offset: int = EDGE) -> bytes:
    return replaced(offset, (value % 2**64).to_bytes(8, sys.byteorder))


U64 = ctypes.c_uint64
WRITERS: dict[str, tuple[Callable[[int], object], bytes, set[int]]] = {
    "copy_to_user": (lambda a: uaccess.copy_to_user(a + EDGE - 2, b"over"), replaced(EDGE - 2, b"over"), {1, 2}),
    "copy to all": (lambda a: uaccess.copy_to_user(a, PAGED[::-1]), PAGED[::-1], {0, 1, 2, 3, 4, 5}),
    "clear_user": (lambda a: uaccess.clear_user(a + 1, EDGE), replaced(1, bytes(EDGE)), {0, 1, 2}),
    "put_user": (lambda a: uaccess.put_user(a + EDGE, U64, 77), stored(77), {2}),
    "put_user over an edge": (lambda a: uaccess.put_user(a + EDGE - 3, U64, 77), stored(77, EDGE - 3), {1, 2}),
    "copy_in_user": (lambda a: uaccess.copy_in_user(a + 4 * PAGE_SIZE - 5, a + 9, 99), b"", {3, 4}),
    "copy_in_user upwards": (lambda a: uaccess.copy_in_user(a + 100, a, EDGE), overlapping(0, 100, EDGE), {0, 1, 2}),
    "copy_in_user down": (lambda a: uaccess.copy_in_user(a, a + 100, EDGE), overlapping(100, 0, EDGE), {0, 1}),
    "copy_in_user by pages": (
        lambda a: uaccess.copy_in_user(a + PAGE_SIZE, a, 3 * PAGE_SIZE),
        overlapping(0, PAGE_SIZE, 3 * PAGE_SIZE),
        {1, 2, 3},
    ),
    "store": (lambda a: atomics.store(a + EDGE, U64, 5), stored(5), {2}),
    "exchange": (lambda a: atomics.exchange(a + EDGE, U64, 5), stored(5), {2}),
    "compare_exchange": (lambda a: atomics.compare_exchange(a + EDGE, U64, word(EDGE), 5), stored(5), {2}),
    "fetch_add": (lambda a: atomics.fetch_add(a + EDGE, U64, 5), stored(word(EDGE) + 5), {2}),
    "fetch_and": (lambda a: atomics.fetch_and(a + EDGE, U64, 255), stored(word(EDGE) & 255), {2}),
    "fetch_or": (lambda a: atomics.fetch_or(a + EDGE, U64, 255), stored(word(EDGE) | 255), {2}),
    "fetch_xor": (lambda a: atomics.fetch_xor(a + EDGE, U64, 255), stored(word(EDGE) ^ 255), {2}),
    "probe_write": (lambda a: uaccess.probe_write(a + EDGE + 1, PAGE_SIZE), PAGED, {2, 3}),
}
RETURNS: dict[str, object] = {"probe_write": PAGE_SIZE}
RETURNS |= dict.fromkeys(["exchange", "compare_exchange", *(f"fetch_{op}" for op in ("add", "and", "or", "xor"))])


@pytest.mark.parametrize("first", ["untouched", "read before"])
@pytest.mark.parametrize("name", WRITERS)
def test_writes_reach_just_their_pages(name: str, first: str, space: AddrSpace, disk: Disk) -> None:
    """Every writing operation changes its bytes alone, and eviction writes back just the pages it wrote, in full."""
    write, expected, pages = WRITERS[name]
    expected = expected or overlapping(9, 4 * PAGE_SIZE - 5, 99)
    if first == "read before":
        uaccess.copy_from_user(disk.start, len(PAGED))
    result = write(disk.start)
    if name in RETURNS:
        assert result == (word(EDGE) if RETURNS[name] is None else RETURNS[name])
    assert len(set(disk.pages_asked)) == len(disk.asked)
    space.evict(space.base, space.size)
    assert bytes(disk.data) == expected
    assert {page for page, _ in disk.written} == pages
    assert len(disk.written) == len(pages)
    assert uaccess.copy_from_user(disk.start, len(PAGED)) == expected


def test_a_compare_exchange_that_differs_changes_nothing(disk: Disk) -> None:
    """compare_exchange on a page that was not there returns what the pager gave, and leaves it."""
    assert atomics.compare_exchange(disk.start, U64, 1, 2) == word(0)
    assert uaccess.copy_from_user(disk.start, PAGE_SIZE) == PAGED[:PAGE_SIZE]


def test_accesses_between_two_spaces_page_both(space: AddrSpace, disk: Disk) -> None:
    """copy_in_user from one space to another asks either's pager for its own pages alone."""
    with spaced() as other:
        target = Disk(bytes(3 * PAGE_SIZE))
        target.map(other)
        uaccess.copy_in_user(target.start + 50, disk.start + PAGE_SIZE, 2 * PAGE_SIZE)
        assert other.read(target.start + 50, 2 * PAGE_SIZE) == PAGED[PAGE_SIZE : 3 * PAGE_SIZE]
        assert (disk.pages_asked, target.pages_asked) == ([1, 2], [0, 1, 2])
        assert (space.paging.pages_in, other.paging.pages_in) == (2, 3)


def test_a_refused_third_page_is_exact(space: AddrSpace) -> None:
    """A pager that says None for the third page gives REFUSED there, with the bytes before it done."""

    def pager(page: VirtAddr, _access: MappingFlags) -> bytes | None:
        return None if page >= start + 2 * PAGE_SIZE else PAGED[:PAGE_SIZE]

    start = space.map_pager(None, 4 * PAGE_SIZE, RW, pager).start
    error = fault_of(lambda: uaccess.copy_from_user(start + 3, 3 * PAGE_SIZE), "read")
    assert (error.address, error.transferred) == (start + 2 * PAGE_SIZE, 2 * PAGE_SIZE - 3)
    assert (error.reason, error.access, error.size) == (FaultReason.REFUSED, READ, 3 * PAGE_SIZE)
    assert error.__cause__ is None
    error = fault_of(lambda: uaccess.copy_to_user(start + 3, bytes(3 * PAGE_SIZE)), "write")
    assert (error.address, error.transferred, error.access) == (start + 2 * PAGE_SIZE, 2 * PAGE_SIZE - 3, WRITE)
    assert uaccess.copy_from_user(start, 2 * PAGE_SIZE) == PAGED[:3] + bytes(2 * PAGE_SIZE - 3)
    assert uaccess.copy_from_user(start + 3, 9 * PAGE_SIZE, partial=True) == bytes(2 * PAGE_SIZE - 3)
    assert uaccess.probe_read(start, 4 * PAGE_SIZE) == uaccess.probe_write(start, 4 * PAGE_SIZE) == 2 * PAGE_SIZE
    buffer = bytearray(b"\xff" * 3 * PAGE_SIZE)
    error = fault_of(lambda: uaccess.copy_from_user_into(start, buffer), "read into")
    assert (error.transferred, bytes(buffer)) == (2 * PAGE_SIZE, PAGED[:3] + bytes(3 * PAGE_SIZE - 3))


BAD_ANSWERS: dict[str, tuple[object, type[BaseException] | None]] = {
    "None": (None, None),
    "too short": (bytes(PAGE_SIZE - 1), ValueError),
    "too long": (bytes(PAGE_SIZE + 1), ValueError),
    "empty": (b"", ValueError),
    "a bytearray": (bytearray(PAGE_SIZE), TypeError),
    "a string": ("x" * PAGE_SIZE, TypeError),
    "a number": (PAGE_SIZE, TypeError),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_bad_answers_are_refused_with_their_cause(answer: str, space: AddrSpace) -> None:
    """A pager that returns no page of bytes gives REFUSED with a cause that says so, and may do better next time."""
    given, cause = BAD_ANSWERS[answer]
    answers: list[object] = [given, bytes(PAGE_SIZE)]
    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: answers.pop(0)).start  # type: ignore[arg-type, return-value]
    error = fault_of(lambda: space.read(start, 1), answer)
    assert error.reason is FaultReason.REFUSED
    assert (type(error.__cause__) if error.__cause__ else None) is cause
    assert (space.paging.refused, space.paging.pages_in) == (1, 0)
    assert space.read(start, 1) == b"\0"


def test_what_a_pager_raises_is_the_cause(space: AddrSpace) -> None:
    """An exception of a pager is the cause of the FaultError, by identity; KeyboardInterrupt comes out as it is."""
    raised: list[BaseException] = []

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes:
        raise raised[-1]

    start = space.map_pager(None, PAGE_SIZE, RW, pager).start
    for cause in (KeyError("disk"), OSError(5, "I/O")):
        raised.append(cause)
        assert fault_of(lambda: space.read(start, 1), "raises").__cause__ is cause
    for stop in (KeyboardInterrupt(), SystemExit(3)):
        raised.append(stop)
        with pytest.raises(type(stop)) as caught:
            space.read(start, 1)
        assert caught.value is stop
        assert not is_accessing_user_memory()


def test_a_pager_may_not_touch_its_own_page(space: AddrSpace) -> None:
    """A pager that accesses the page it is asked for, directly or by another pager, is refused and does not hang."""

    def pager(page: VirtAddr, _access: MappingFlags) -> bytes:
        return uaccess.copy_from_user(start + (page - start + step) % (2 * PAGE_SIZE), PAGE_SIZE)

    start = space.map_pager(None, 2 * PAGE_SIZE, RW, pager).start
    for step in (0, PAGE_SIZE):
        error = fault_of(lambda: space.read(start, 1), "recursive")
        causes = []
        cause: BaseException | None = error
        while cause is not None:
            causes.append(type(cause).__name__)
            cause = cause.__cause__
        assert causes == ["FaultError"] * (2 + step // PAGE_SIZE) + ["RuntimeError"]


def test_a_pager_may_use_other_pagers(space: AddrSpace, disk: Disk) -> None:
    """A pager that reads a page of another pager area gets it paged in, and both are counted."""
    start = space.map_pager(
        None, PAGE_SIZE, RW, lambda _page, _access: uaccess.copy_from_user(disk.start + 7, PAGE_SIZE)
    ).start
    assert space.read(start, PAGE_SIZE) == PAGED[7 : PAGE_SIZE + 7]
    assert (disk.pages_asked, space.paging.pages_in, space.paging.resolved) == ([0, 1], 3, 3)


def test_what_no_page_can_mend_is_no_page_fault(space: AddrSpace, disk: Disk) -> None:
    """A misaligned atomic, and a span that leaves the address space, are refused, and no pager is asked."""
    error = fault_of(lambda: atomics.fetch_add(disk.start + 1, ctypes.c_uint32, 1), "misaligned")
    assert error.reason is FaultReason.MISALIGNED
    error = fault_of(lambda: uaccess.strnlen_user(disk.start, END - 1), "out of range")
    assert error.reason is FaultReason.OUT_OF_RANGE
    assert (disk.pages_asked, space.paging.resolved, space.paging.refused) == ([], 0, 0)


def test_pagers_and_write_backs_run_as_accesses_to_user_memory(space: AddrSpace) -> None:
    """is_accessing_user_memory() is True in a pager and in a write-back, and False around them, also after failures."""
    seen: list[bool] = []

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes | None:
        seen.append(is_accessing_user_memory())
        return bytes(PAGE_SIZE) if len(seen) > 1 else None

    start = space.map_pager(
        None, PAGE_SIZE, RW, pager, write_back=lambda _page, _data: seen.append(is_accessing_user_memory())
    ).start
    fault_of(lambda: space.write(start, b"x"), "refused once")
    assert not is_accessing_user_memory()
    space.write(start, b"x")
    space.evict(start, PAGE_SIZE)
    assert seen == [True, True, True]
    assert not is_accessing_user_memory()


def test_threads_on_one_page_ask_once(space: AddrSpace) -> None:
    """Eight threads that fault on one page get its bytes from one question, which waits for them all to have begun."""
    barrier, asked = threading.Barrier(8), []
    begun = [threading.Event() for _ in range(8)]

    def pager(page: VirtAddr, _access: MappingFlags) -> bytes:
        asked.append(page)
        for event in begun:
            assert event.wait(10)
        return PAGED[:PAGE_SIZE]

    start = space.map_pager(None, PAGE_SIZE, RW, pager).start

    def body(number: int) -> None:
        barrier.wait(10)
        begun[number].set()
        assert uaccess.copy_from_user(start, PAGE_SIZE) == PAGED[:PAGE_SIZE]

    in_threads(*(lambda number=number: body(number) for number in range(8)))
    assert asked == [start]
    assert space.paging.pages_in == 1


def test_a_pager_does_not_hold_up_other_pages(space: AddrSpace) -> None:
    """While one page's pager waits, other pages are paged in, and the space maps, protects and unmaps."""
    entered, go_on = threading.Event(), threading.Event()

    def pager(page: VirtAddr, _access: MappingFlags) -> bytes:
        if page == start:
            entered.set()
            assert go_on.wait(10)
        return PAGED[:PAGE_SIZE]

    start = space.map_pager(space.base, 2 * PAGE_SIZE, RW, pager).start

    def meanwhile() -> None:
        assert entered.wait(10)
        try:
            assert space.read(start + PAGE_SIZE, 5) == PAGED[:5]
            mapped = space.map_alloc(None, PAGE_SIZE, RW)
            space.protect(mapped.start, PAGE_SIZE, READ)
            assert space.evict(start, 2 * PAGE_SIZE) == 1
            space.unmap(mapped.start, PAGE_SIZE)
        finally:
            go_on.set()

    in_threads(lambda: space.read(start, 1), meanwhile)


@pytest.mark.parametrize("change", ["unmap", "clear", "close", "remap", "protect"])
def test_what_changes_while_the_pager_runs_counts(change: str, space: AddrSpace) -> None:
    """A page that is unmapped or loses its access while its pager runs is a FaultError, and no stale page appears."""

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes:
        in_threads(meanwhile)
        return PAGED[:PAGE_SIZE]

    def meanwhile() -> None:
        if change == "protect":
            space.protect(start, PAGE_SIZE, NONE)
        elif change in ("clear", "close"):
            getattr(space, change)()
        else:
            space.unmap(start, PAGE_SIZE)
        if change == "remap":
            space.map_alloc(start, PAGE_SIZE, NONE)

    start = space.map_pager(space.base, 2 * PAGE_SIZE, RW, pager).start
    error = fault_of(lambda: space.read(start, 1), change)
    assert error.reason is (FaultReason.NOT_PERMITTED if change == "protect" else FaultReason.REFUSED)
    fault_of(lambda: space.read(start, 1), "again")


@pytest.mark.parametrize("change", ["close", "clear"])
def test_pagers_and_write_backs_may_close_their_space(change: str, space: AddrSpace) -> None:
    """A pager that ends its own space is refused, and a write-back that does so leaves the page out; neither hangs."""
    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: getattr(space, change)() or bytes(PAGE_SIZE))
    error = fault_of(lambda: space.read(start.start, 1), change)
    assert (error.reason, error.__cause__, space.areas()) == (FaultReason.REFUSED, None, ())
    with spaced() as other:

        def write_back(_page: VirtAddr, _data: bytes) -> None:
            getattr(other, change)()

        mapped = other.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: bytes(PAGE_SIZE), write_back=write_back)
        other.write(mapped.start, b"x")
        assert other.evict(mapped.start, PAGE_SIZE) == 1
        assert (other.areas(), other.closed) == ((), change == "close")


def test_closing_lets_those_go_who_wait_for_a_page(space: AddrSpace) -> None:
    """When a space is closed while a pager runs, its page is refused, and who waited for it finds nothing there."""
    entered, go_on = threading.Event(), threading.Event()

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes:
        entered.set()
        assert go_on.wait(10)
        return bytes(PAGE_SIZE)

    start = space.map_pager(None, PAGE_SIZE, RW, pager).start
    errors: list[FaultError] = []

    def close() -> None:
        assert entered.wait(10)
        space.close()
        go_on.set()

    in_threads(*[lambda: errors.append(fault_of(lambda: uaccess.copy_from_user(start, 1), "closed"))] * 4, close)
    reasons = [error.reason for error in errors]
    assert (reasons.count(FaultReason.REFUSED), reasons.count(FaultReason.NOT_PERMITTED)) == (1, 3)


def test_a_pager_area_without_room_leaves_nothing_behind() -> None:
    """A pager area whose pages cannot be kept is the system's error: no file stays open and no area appears."""
    with AddrSpace(1 << 46) as space:
        with no_file_left_open(), pytest.raises(OSError, match="Errno"):
            space.map_pager(None, space.size, RW, lambda _page, _access: None)
        assert layout(space) == []


def test_pages_side_by_side_change_together(space: AddrSpace, disk: Disk) -> None:
    """A protect of an area with a pager is in force on all pages that are in, however they got in."""
    size = 4 * PAGE_SIZE
    space.read(disk.start + 3 * PAGE_SIZE, 1)
    space.write(disk.start, bytes(2 * PAGE_SIZE))
    for flags in (READ, NONE, RW):
        space.protect(disk.start, size, flags)
        for access, probe in ((READ, uaccess.probe_read), (WRITE, uaccess.probe_write)):
            for page in (0, 1, 3):
                expected = PAGE_SIZE if access in flags else 0
                assert probe(disk.start + page * PAGE_SIZE, PAGE_SIZE) == expected, (flags, access, page)
