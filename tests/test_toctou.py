# SPDX-License-Identifier: MIT
"""Memory that changes under those who access it: eviction, and threads that unmap, protect and truncate."""

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers_memory import READ, fault_of, pattern
from helpers_space import NONE, PAGED, RW, Disk, at, in_threads

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, VirtAddr, atomics, uaccess
from axptr_native._native import lib_dropping_gil

ROUND = 0.4
"""Seconds that each race lasts."""


def race(change: Callable[[int], object], *bodies: Callable[[], object]) -> None:
    """Run bodies over and over while one thread changes things, for a round; let their exceptions out."""
    stop = threading.Event()
    interval = sys.getswitchinterval()

    def changing() -> None:
        end = time.monotonic() + ROUND
        number = 0
        try:
            while time.monotonic() < end and not stop.is_set():
                change(number)
                number += 1
        finally:
            stop.set()

    def repeated(body: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                body()
        finally:
            stop.set()

    sys.setswitchinterval(1e-5)
    try:
        in_threads(changing, *(lambda body=body: repeated(body) for body in bodies))
    finally:
        sys.setswitchinterval(interval)


def test_eviction_counts_and_asks_again(space: AddrSpace, disk: Disk) -> None:
    """Eviction returns the pages that were in, the counters say so, and the next access asks again."""
    space.read(disk.start, 2 * PAGE_SIZE)
    assert space.evict(space.base, space.size) == 2
    assert space.evict(space.base, space.size) == 0
    assert space.read(disk.start, PAGE_SIZE) == PAGED[:PAGE_SIZE]
    assert disk.pages_asked == [0, 1, 0]
    assert (space.paging.pages_in, space.paging.pages_out, space.paging.refused) == (3, 2, 0)
    assert "pages_in=3" in repr(space.paging)


def test_a_write_after_a_read_is_a_fault_that_was_resolved(space: AddrSpace, disk: Disk) -> None:
    """The first write to a page that was only read faults too, which counts as resolved and asks nobody."""
    space.read(disk.start, 1)
    space.write(disk.start, b"x")
    space.write(disk.start, b"y")
    assert (space.paging.resolved, space.paging.pages_in, disk.asked) == (2, 1, [(0, READ)])


def test_only_written_pages_are_written_back(space: AddrSpace, disk: Disk) -> None:
    """Eviction hands over each written page once, whole, and a page that was read again is clean."""
    space.read(disk.start, 4 * PAGE_SIZE)
    space.write(disk.start + PAGE_SIZE + 5, b"new")
    space.evict(disk.start, 4 * PAGE_SIZE)
    page = PAGED[PAGE_SIZE : 2 * PAGE_SIZE]
    assert disk.written == [(1, page[:5] + b"new" + page[8:])]
    assert space.read(disk.start + PAGE_SIZE, PAGE_SIZE) == disk.written[0][1]
    space.evict(disk.start, 4 * PAGE_SIZE)
    assert len(disk.written) == 1


def test_without_write_back_what_was_written_is_forgotten(space: AddrSpace) -> None:
    """A pager area without a write-back gives the pager's bytes again after eviction."""
    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: PAGED[:PAGE_SIZE]).start
    space.write(start, b"lost")
    assert space.evict(start, PAGE_SIZE) == 1
    assert space.read(start, PAGE_SIZE) == PAGED[:PAGE_SIZE]


def test_a_failed_write_back_keeps_the_page(space: AddrSpace) -> None:
    """When write-back raises, its exception comes out, earlier pages are out, and the page keeps what was written."""
    full = [OSError(28, "No space left on device")]

    def write_back(page: VirtAddr, _data: bytes) -> None:
        if page == start + PAGE_SIZE and full:
            raise full[0]

    start = space.map_pager(
        None, 3 * PAGE_SIZE, RW, lambda _page, _access: bytes(PAGE_SIZE), write_back=write_back
    ).start
    space.write(start, PAGED[: 3 * PAGE_SIZE])
    with pytest.raises(OSError, match="No space left") as raised:
        space.evict(start, 3 * PAGE_SIZE)
    assert raised.value is full[0]
    assert (space.paging.pages_out, space.paging.pages_in) == (1, 3)
    assert space.read(start + PAGE_SIZE, 2 * PAGE_SIZE) == PAGED[PAGE_SIZE : 3 * PAGE_SIZE]
    full.clear()
    assert space.evict(start, 3 * PAGE_SIZE) == 2


@pytest.mark.parametrize("meanwhile", ["nothing", "protect"])
def test_nobody_accesses_a_page_that_is_written_back(meanwhile: str, space: AddrSpace) -> None:
    """A write during the write-back does not get through, also if the area is protected anew meanwhile."""
    outcomes: list[BaseException | None] = []

    def write_back(page: VirtAddr, _data: bytes) -> None:
        if meanwhile == "protect":
            space.protect(page, PAGE_SIZE, READ)
            space.protect(page, PAGE_SIZE, RW)
        outcomes.append(fault_of(lambda: uaccess.copy_to_user(page, b"lost"), "write").__cause__)

    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: bytes(PAGE_SIZE), write_back=write_back).start
    space.write(start, b"x")
    assert space.evict(start, PAGE_SIZE) == 1
    assert [type(outcome) for outcome in outcomes] == [RuntimeError]


@pytest.mark.parametrize("change", ["unmap", "clear", "close"])
def test_a_write_back_may_see_its_area_go(change: str, space: AddrSpace) -> None:
    """An area that goes while its page is written back leaves evict with the page out, or the space closed."""

    def write_back(_page: VirtAddr, data: bytes) -> None:
        in_threads(lambda: space.unmap(start, PAGE_SIZE) if change == "unmap" else getattr(space, change)())
        seen.append(data[:1])

    seen: list[bytes] = []
    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: bytes(PAGE_SIZE), write_back=write_back).start
    space.write(start, b"x")
    assert space.evict(start, PAGE_SIZE) == 1
    assert (seen, space.areas()) == ([b"x"], ())


def test_protection_of_paged_areas_is_kept(space: AddrSpace, disk: Disk) -> None:
    """Pages in and out allow what the area does, now and after each protect, and keep their bytes and dirtiness."""
    space.write(disk.start, b"dirty")
    for flags in (NONE, READ):
        space.protect(disk.start, 4 * PAGE_SIZE, flags)
        for page in (0, 1):
            error = fault_of(lambda page=page: space.write(at(space, page), b"no"), "write")  # type: ignore[misc]
            assert error.reason is FaultReason.NOT_PERMITTED
    assert disk.pages_asked == [0]
    assert space.read(disk.start, 5) == b"dirty"
    space.protect(disk.start, 4 * PAGE_SIZE, RW)
    space.write(disk.start + PAGE_SIZE, b"z")
    space.evict(disk.start, 4 * PAGE_SIZE)
    assert [page for page, _ in disk.written] == [0, 1]


def test_parts_of_paged_areas_keep_their_pages(space: AddrSpace, disk: Disk) -> None:
    """Unmapping the middle of a pager area keeps the pages on both sides, and faults in the hole."""
    space.write(disk.start, PAGED[::-1])
    space.unmap(disk.start + PAGE_SIZE, PAGE_SIZE)
    assert space.read(disk.start, PAGE_SIZE) == PAGED[::-1][:PAGE_SIZE]
    assert space.read(disk.start + 2 * PAGE_SIZE, 4 * PAGE_SIZE) == PAGED[::-1][2 * PAGE_SIZE :]
    fault_of(lambda: space.read(disk.start + PAGE_SIZE, 1), "hole")
    assert space.evict(disk.start, 6 * PAGE_SIZE) == 5
    assert len(disk.asked) == 6


def outcome(act: Callable[[], bytes]) -> bytes | FaultError:
    """Return what an access returns, or its fault."""
    try:
        return act()
    except FaultError as error:
        return error


def one_of(address: int, size: int, values: set[int], reason: FaultReason | None = None) -> None:
    """Read a span and assert that it holds just these bytes, or faults exactly, for that reason if one is given."""
    found = outcome(lambda: uaccess.copy_from_user(address, size))
    if isinstance(found, FaultError):
        assert address <= found.address < address + size
        assert found.transferred == found.address - address
        assert reason is None or found.reason is reason
    else:
        assert len(found) == size
        assert set(found) <= values


def attempt(act: Callable[[], object]) -> None:
    """Do something that may fault."""
    with contextlib.suppress(FaultError):
        act()


@pytest.mark.parametrize("how", ["protect", "unmap"])
def test_changing_areas_give_right_bytes_or_faults(how: str, space: AddrSpace) -> None:
    """While a thread unmaps and protects, reads give only what can have been there, and writes fault or succeed."""
    size = 3 * PAGE_SIZE
    start = space.map_alloc(space.base, size, RW).start

    def change(number: int) -> None:
        if how == "protect":
            space.protect(at(space, number % 3), PAGE_SIZE, (NONE, READ, RW)[number % 5 % 3])
        else:
            space.unmap(at(space, number % 3), PAGE_SIZE)
            space.map_alloc(at(space, number % 3), PAGE_SIZE, RW, populate=bool(number % 2))

    race(
        change,
        lambda: one_of(start, size, {0, 7}),
        lambda: attempt(lambda: uaccess.copy_to_user(start, b"\x07" * size)),
        lambda: attempt(lambda: uaccess.strnlen_user(start, size)),
        lambda: attempt(lambda: atomics.fetch_or(start + PAGE_SIZE, ctypes.c_uint8, 7)),
    )


def test_a_truncated_file_gives_right_bytes_or_faults(space: AddrSpace, tmp_path: Path) -> None:
    """While a thread truncates and extends a mapped file, reads give its bytes, zeros or a fault at a page."""
    size = 3 * PAGE_SIZE
    path = tmp_path / "file"
    path.write_bytes(b"\x07" * size)
    with path.open("rb+", buffering=0) as file:
        start = space.map_file(None, file, size, RW).start

        def change(number: int) -> None:
            os.truncate(path, (0, PAGE_SIZE + 9, size)[number % 3])

        race(
            change,
            lambda: one_of(start, size, {0, 7}, FaultReason.BEYOND_END),
            lambda: attempt(lambda: uaccess.copy_to_user(start + 5, b"\x07" * (size - 5))),
        )


def test_a_string_that_changes_is_as_long_as_its_copy(space: AddrSpace) -> None:
    """While a thread puts zeros into a string and takes them out, the length told is that of the bytes copied."""
    size = 16 * PAGE_SIZE - 5
    start = space.map_alloc(space.base, 16 * PAGE_SIZE, RW).start
    uaccess.copy_to_user(start, b"\x07" * size)
    own, length = ctypes.create_string_buffer(size), ctypes.c_void_p()

    def copy() -> None:
        assert lib_dropping_gil.axp_strncpy_from_user(ctypes.addressof(own), size, start, size, length) == 0
        assert (length.value or 0) == len(own.raw.partition(b"\0")[0])

    race(lambda number: ctypes.memset(start + number * 4099 % size, 7 * (number % 3), 1), copy)


def test_eviction_loses_no_update(space: AddrSpace, disk: Disk) -> None:
    """While a thread evicts, atomic additions of others are all counted, and pages that nobody writes stay right."""
    counts = [0, 0]

    def add(number: int) -> None:
        address = disk.start + number * PAGE_SIZE + 8
        atomics.fetch_add(address, ctypes.c_uint32, 1)
        counts[number] += 1

    def read() -> None:
        assert (
            uaccess.copy_from_user(disk.start + 2 * PAGE_SIZE + 3, PAGE_SIZE + 5)
            == PAGED[2 * PAGE_SIZE + 3 :][: PAGE_SIZE + 5]
        )

    race(lambda _: space.evict(disk.start, 4 * PAGE_SIZE), lambda: add(0), lambda: add(1), read)
    space.evict(disk.start, 4 * PAGE_SIZE)
    for number, count in enumerate(counts):
        offset = number * PAGE_SIZE + 8
        before = int.from_bytes(PAGED[offset : offset + 4], sys.byteorder)
        assert (int.from_bytes(disk.data[offset : offset + 4], sys.byteorder) - before) % 2**32 == count
    assert space.paging.refused == 0


def test_eviction_under_long_writes_keeps_their_bytes(space: AddrSpace, disk: Disk) -> None:
    """While a thread evicts, a writer that is alone reads back what it wrote over several pages."""
    written = 0

    def write() -> None:
        nonlocal written
        written += 1
        data = pattern(3 * PAGE_SIZE, first=written)
        uaccess.copy_to_user(disk.start + 100, data)
        assert uaccess.copy_from_user(disk.start + 100, len(data)) == data

    race(lambda number: space.evict(at(space, number % 4), PAGE_SIZE), write)


def test_eviction_beside_unmaps_raises_nothing(space: AddrSpace) -> None:
    """While a thread unmaps and maps a pager area, others evict and read it: only FaultErrors, and no page is lost."""

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes:
        return b"\x07" * PAGE_SIZE

    def change(_: int) -> None:
        space.unmap(space.base, 8 * PAGE_SIZE)
        space.map_pager(space.base, 8 * PAGE_SIZE, RW, pager, write_back=lambda _page, data: written.update(data))
        attempt(lambda: uaccess.copy_to_user(space.base, b"\x07" * 8 * PAGE_SIZE))

    written: set[int] = set()
    race(change, lambda: space.evict(space.base, 8 * PAGE_SIZE), lambda: one_of(space.base, 99, {7}))
    assert written <= {7}


def test_a_space_that_closes_under_accesses_faults() -> None:
    """While spaces are closed and let go, reads and writes of other threads succeed or fault."""
    current = [AddrSpace(4 * PAGE_SIZE)]

    def change(_: int) -> None:
        made = AddrSpace(4 * PAGE_SIZE)
        made.map_pager(None, 2 * PAGE_SIZE, RW, lambda _page, _access: b"\x07" * PAGE_SIZE)
        current[0].close()
        current[0] = made

    def read() -> None:
        space = current[0]
        one_of(space.base, 2 * PAGE_SIZE, {7})
        attempt(lambda: space.write(space.base, b"\x07" * 2 * PAGE_SIZE))

    race(change, read, read)
    current[0].close()
