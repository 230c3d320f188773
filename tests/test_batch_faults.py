# SPDX-License-Identifier: MIT
"""Batches over memory that faults, comes and goes: how often it faults, and who gets to know."""

import ctypes
import errno
import random
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from child import check, ends, run
from helpers_batch import NOWHERE, words
from helpers_memory import END, READ, SIGNALS, pattern, poke
from helpers_space import Disk, in_threads, spaced

from axptr_native import PAGE_SIZE, MappingFlags, VirtAddr, batch
from axptr_native._memory import map_memory, unmap_memory
from axptr_native._native import MAP_FIXED, MAP_SHARED, BatchLimits, Fault, lib
from axptr_native._regions import Ending, Region, ending_memory

# Counted by a handler on top of ours.  A run during which we have gone back on top of that says nothing.
COUNTING = """
import ctypes, signal, sys
from child import *
no_core_dump()
from axptr_native import PAGE_SIZE, batch
from axptr_native._memory import READ_WRITE, map_memory
from axptr_native._native import MAP_FIXED
from axptr_native._regions import Ending, ending_memory
from axptr_native.handlers import status
library = hostile(sys.argv[1])

def faults_of(operation, number=signal.SIGSEGV):
    while True:
        assert library.hostile_install(number, b"count") == 0
        before = library.hostile_calls()
        operation()
        if not status()[number].on_top:
            return library.hostile_calls() - before

def operations(addresses, size):
    return [
        lambda: batch.gather_from_user(addresses, size),
        lambda: batch.scatter_to_user(addresses, b"\\1" * size * len(addresses)),
        lambda: batch.probe_many(addresses, size),
        lambda: batch.read_strings(addresses, size),
    ]
"""


def test_a_bad_page_faults_once(ending: Ending, hostile_library: Path, tmp_path: Path) -> None:
    """However many entries lie on it or reach it, each operation faults once for a bad page, and not for good ones."""
    number = SIGNALS[ending.value].name
    code = f"""
with ending_memory(Ending.{ending.name}, bad=4 * PAGE_SIZE) as region:
    ctypes.memset(region.start, 1, region.edge - region.start)
    good = [region.start + offset for offset in range(0, 2 * PAGE_SIZE - 8, 56)]
    pages = [region.edge + page * PAGE_SIZE for page in range(4)]
    bad = [page + offset for page in pages for offset in (0, 8, 16, 1000, PAGE_SIZE - 8)]
    reaching = [region.edge - back for back in range(1, 8)]
    for addresses, faults in (
        (good, 0), (good + bad[:5] + good + bad[:5], 1), (good + bad + good + bad, 4), (bad[::-1] + good, 4),
        (good + reaching + good, 1), (bad[:1] + reaching + good, 1), (reaching + bad, 4),
    ):
        for operation in operations(addresses, 8):
            found = faults_of(operation, signal.{number})
            assert found == faults, (found, faults, addresses[0])
"""
    check(run(COUNTING + code, hostile_library, cwd=tmp_path))


def test_addresses_that_no_processor_forms_fault_for_the_first_of_them(hostile_library: Path, tmp_path: Path) -> None:
    """Those that lie further from both ends of the address space than one that has faulted need not be tried."""
    code = """
low, high = 1 << 62, 2**64 - (1 << 62)
for addresses, faults in (
    (range(low, high, 1 << 50), 1),
    (range(high, low, -(1 << 50)), 1),
    ([low + 8, low + 16, low - 8, low, high + 8, high], 2),
    ([high, high + 8, high, low, low - 8, high - 8], 1),
):
    for operation in operations([*addresses], 8):
        found = faults_of(operation)
        assert found == faults, (found, faults, addresses[0])
"""
    check(run(COUNTING + code, hostile_library, cwd=tmp_path))


def test_an_access_that_is_refused_makes_no_fault(hostile_library: Path, tmp_path: Path) -> None:
    """Neither do numbers that are no addresses, nor sizes that lead out of the address space, nor size 0."""
    code = """
outside = [-1, 2**64, 2**64 - 7, -(2**70)] * 50
assert [faults_of(operation) for operation in operations(outside, 8)] == [0, 0, 0, 0]
assert [faults_of(operation) for operation in operations([0, 16, 1 << 62, 2**64 - 1], 0)] == [0, 0, 0, 0]
"""
    check(run(COUNTING + code, hostile_library, cwd=tmp_path))


def test_more_bad_pages_than_are_remembered_are_bad_all_the_same() -> None:
    """2000 of them, each three times, leave the good entries between them good."""
    with ending_memory(Ending.PROTECTION, bad=2000 * PAGE_SIZE) as region:
        content = pattern(2 * PAGE_SIZE)
        poke(region.start, content)
        chosen = random.Random(1)
        bad = [region.edge + page * PAGE_SIZE + chosen.randrange(PAGE_SIZE) for page in [*range(2000)] * 3]
        good = [region.start + chosen.randrange(2 * PAGE_SIZE - 8) for _ in range(6000)]
        addresses = bad + good
        chosen.shuffle(addresses)
        data, ok = batch.gather_from_user(words(addresses), 8)
        assert ok == bytes(address < region.edge for address in addresses)
        for entry, address in enumerate(addresses):
            expected = content[address - region.start :][:8] if ok[entry] else bytes(8)
            assert data[entry * 8 : entry * 8 + 8] == expected, entry


def test_the_library_returns_at_its_limits() -> None:
    """After so many faults, or after one where it is to pause, and it says nothing of the entries behind."""
    with ending_memory(Ending.PROTECTION, bad=4 * PAGE_SIZE) as region:
        bad = [region.edge + page * PAGE_SIZE for page in range(4)]
        addresses = words([region.start, bad[0], bad[0] + 8, region.start, bad[1], region.start, bad[2], region.start])
        at, _ = addresses.buffer_info()
        highest = region.end - 1
        for limits, done in (
            ((highest, 1, 0, 0), 2),
            ((highest, 2, 0, 0), 5),
            ((highest, 3, 0, 0), 7),
            ((highest, 4, 0, 0), 8),
            ((highest, 9, bad[1], bad[1] + 1), 5),
            ((highest, 9, region.start, bad[0]), 8),
            ((highest, 9, 0, END - 1), 2),
            ((bad[0], 9, bad[1], region.end), 8),
            ((region.start, 1, 0, END - 1), 8),
        ):
            ok, reached = ctypes.create_string_buffer(b"." * 8, 8), ctypes.c_void_p()
            assert lib.axp_probe_many(at, 8, 8, BatchLimits(*limits), ctypes.addressof(ok), reached) == 0
            assert (reached.value, ok.raw) == (done, b"\1\0\0\1\0\1\0\1"[:done].ljust(8, b".")), limits


def test_no_fault_record_is_left(region: Region) -> None:
    """After batches with every kind of bad entry the thread has no fault record, so none is taken for another's."""
    bad = [region.edge, region.edge - 3, region.end - 1, *NOWHERE.values()]
    found: list[int] = []

    def in_a_thread_without_records() -> None:
        batch.gather_from_user(bad, 8)
        batch.scatter_to_user(bad, bytes(8) * len(bad))
        batch.probe_many(bad, 8)
        batch.read_strings(bad, 8)
        found.append(lib.axp_take_fault(Fault()))

    in_threads(in_a_thread_without_records)
    assert found == [-errno.ENOENT]


@pytest.mark.parametrize(
    "operation",
    [
        "gather_from_user([good] * 1024, 8, out=bad)",
        "gather_from_user(memoryview(bad).cast('Q'), 8)",
        "scatter_to_user([good] * 1024, bad)",
        "probe_many(memoryview(bad).cast('Q'), 8)",
        "read_strings(memoryview(bad).cast('Q'), 8)",
    ],
)
def test_a_bad_buffer_of_ours_kills(operation: str, tmp_path: Path) -> None:
    """The kernel's side of a batch is ours to vouch for: a fault there is no bad entry."""
    code = f"""
from axptr_native import batch
memory = ctypes.create_string_buffer(64)
good, bad = ctypes.addressof(memory), truncated_mapping()
batch.{operation}
"""
    ends(code, -signal.SIGBUS, tmp_path)


def test_threads_gather_from_pages_that_come_and_go() -> None:
    """While one thread maps and unmaps pages, each entry of eight others is what the file holds, or bad and zeros."""
    pages, content = 16, pattern(16 * PAGE_SIZE)
    with tempfile.TemporaryFile() as file, ending_memory(Ending.HOLE, bad=pages * PAGE_SIZE) as region:
        file.write(content)
        file.flush()
        poke(region.start, pattern(2 * PAGE_SIZE))
        stop = threading.Event()
        running = [*range(8)]

        def come_and_go() -> None:
            chosen = random.Random(0)
            while not stop.is_set():
                page = chosen.randrange(pages)
                at, size = region.edge + page * PAGE_SIZE, chosen.randrange(1, pages - page + 1) * PAGE_SIZE
                shared = MAP_FIXED | MAP_SHARED
                map_memory(size, READ, start=at, options=shared, file=file.fileno(), offset=page * PAGE_SIZE)
                unmap_memory(at, PAGE_SIZE)
            unmap_memory(region.edge, pages * PAGE_SIZE)

        def gather(number: int) -> None:
            chosen = random.Random(number)
            known = {region.start: pattern(2 * PAGE_SIZE), region.edge: content}
            try:
                for turn in range(60):
                    size = chosen.choice([1, 4, 8, 24, 200])
                    count = 200 if turn % 20 else 5000  # so many run without the GIL
                    origins = [chosen.choice([*known]) for _ in range(count)]
                    places = [chosen.randrange(len(known[origin]) - size) for origin in origins]
                    addresses = words(origin + place for origin, place in zip(origins, places, strict=True))
                    data, ok = batch.gather_from_user(addresses, size)
                    for entry, (origin, place) in enumerate(zip(origins, places, strict=True)):
                        expected = known[origin][place : place + size] if ok[entry] else bytes(size)
                        assert data[entry * size : entry * size + size] == expected, (turn, entry)
                        assert ok[entry] or origin == region.edge, (turn, entry)
            finally:
                running.remove(number)
                if not running:
                    stop.set()

        in_threads(come_and_go, *(lambda number=number: gather(number) for number in range(8)))


def test_strings_that_change_meanwhile_hold_no_zero_byte() -> None:
    """While another thread moves the zero byte, each string is bytes without one, or none."""
    with ending_memory(Ending.PROTECTION) as region:
        size = 200
        poke(region.edge - size, b"x" * (size - 1) + b"\0")
        addresses = words([region.edge - size + offset for offset in range(0, size, 3)])
        done = threading.Event()

        def move() -> None:
            chosen = random.Random(0)
            while not done.is_set():
                at = region.edge - size + chosen.randrange(size - 1)
                poke(at, b"\0")
                poke(at, b"x")

        def read() -> None:
            try:
                for _ in range(2000):
                    for text in batch.read_strings(addresses, size):
                        assert text is not None
                        assert text.strip(b"x") == b""
            finally:
                done.set()

        in_threads(move, read)


def test_a_batch_pages_in_what_it_reads() -> None:
    """Each page is asked for once, for reading, in the order in which the entries come to it."""
    for operation in ("gather", "probe", "strings"):
        with spaced(16) as space:
            disk = Disk(pattern(8 * PAGE_SIZE - 1) + b"\0")
            start = disk.map(space)
            offsets = [5 * PAGE_SIZE + 9, 3 * PAGE_SIZE - 4, 5 * PAGE_SIZE, 8 * PAGE_SIZE - 8, 9]
            addresses = [start + offset for offset in offsets]
            addresses.insert(2, space.end - 8)
            if operation == "gather":
                data, ok = batch.gather_from_user(addresses, 8)
                found = [disk.data[offset : offset + 8] for offset in offsets]
                found.insert(2, bytearray(8))
                assert data == b"".join(found)
                assert ok == b"\1\1\0\1\1\1"
            elif operation == "probe":
                assert batch.probe_many(addresses, 8) == b"\1\1\0\1\1\1"
            else:
                texts = batch.read_strings(addresses, 9 * PAGE_SIZE)
                expected = [bytes(disk.data[offset:-1]) for offset in offsets]
                assert texts == [*expected[:2], None, *expected[2:]]
            read = [5, 6, 7, 2, 3, 4, 0, 1] if operation == "strings" else [5, 2, 3, 7, 0]
            assert disk.asked == [(page, READ) for page in read], operation
            assert batch.probe_many(addresses, 8) == b"\1\1\0\1\1\1"
            assert len(disk.asked) == len(read)


def test_a_batch_pages_in_what_it_writes_and_keeps_the_order() -> None:
    """Entries that overlap over pages that are not in yet leave the last one there, and the pages are written back."""
    with spaced(16) as space:
        disk = Disk(bytes(4 * PAGE_SIZE))
        start = disk.map(space)
        edge = start + 2 * PAGE_SIZE
        assert batch.scatter_to_user([edge, edge + PAGE_SIZE], b"ab") == b"\1\1"
        addresses = [edge - 4, edge, edge - 2, space.end - 8, edge - 6]
        assert batch.scatter_to_user(addresses, b"11111111222222223333333344444444" + b"55555555") == b"\1\1\1\0\1"
        assert batch.gather_from_user([edge - 8], 24)[0] == bytes(2) + b"55555555" + b"333322" + bytes(8)
        space.evict(start, 4 * PAGE_SIZE)
        assert sorted(page for page, _ in disk.written) == [1, 2, 3]


def test_a_page_that_a_pager_refuses_spoils_its_entries_only() -> None:
    """A pager that returns None or raises makes entries bad; they are zeros, and the others are read."""

    def pager(page: VirtAddr, _access: MappingFlags) -> "bytes | None":
        number = (page - space.base) // PAGE_SIZE
        if number == 2:
            raise ValueError("no such page")
        return None if number == 1 else bytes([number]) * PAGE_SIZE

    with spaced(8) as space:
        start = space.map_pager(space.base, 5 * PAGE_SIZE, READ, pager).start
        addresses = [start + PAGE_SIZE * page + 8 for page in (1, 0, 2, 3, 1, 4)] + [start + PAGE_SIZE - 4]
        data, ok = batch.gather_from_user(addresses, 8)
        assert ok == b"\0\1\0\1\0\1\0"
        assert data == b"".join(bytes([page * good]) * 8 for page, good in zip((1, 0, 2, 3, 1, 4, 0), ok, strict=True))
        assert batch.scatter_to_user(addresses, bytes(8) * 7) == bytes(7)
        assert batch.gather_from_user(addresses, 8) == (data, ok)


def test_a_large_batch_over_paged_memory_is_read_to_its_end() -> None:
    """100,000 addresses over 64 pages, with bad ones among them, ask for each page once."""
    with spaced(80) as space:
        disk = Disk(pattern(64 * PAGE_SIZE))
        start = disk.map(space)
        chosen = random.Random(2)
        offsets = [chosen.randrange(len(disk.data) - 8) for _ in range(100_000)]
        addresses = words(start + offset for offset in offsets)
        for entry in range(0, 100_000, 1000):
            addresses[entry] = 16
        data, ok = batch.gather_from_user(addresses, 8)
        for entry, offset in enumerate(offsets):
            expected = disk.data[offset : offset + 8] if entry % 1000 else bytes(8)
            assert data[entry * 8 : entry * 8 + 8] == expected, entry
        assert ok == (b"\0" + b"\1" * 999) * 100
        assert sorted(disk.pages_asked) == list(range(64))
