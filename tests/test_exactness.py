# SPDX-License-Identifier: MIT
"""Every operation, at every way in which memory ends: the first bad byte, the bytes done, and nothing besides."""

import ctypes
import errno
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from helpers_memory import (
    DISTANCES,
    READ,
    READ_ONLY,
    WRITE,
    fault_of,
    faulted,
    gap_memory,
    pattern,
    peek,
    poke,
    refused,
    seen,
)

from axptr_native import PAGE_SIZE, FaultReason, atomics, uaccess
from axptr_native._native import fault_error, lib, lib_dropping_gil
from axptr_native._regions import Ending, Region

BEYOND = (1, 13, PAGE_SIZE, PAGE_SIZE + 100)
UNSIGNED: dict[int, type[Any]] = {
    1: ctypes.c_uint8,
    2: ctypes.c_uint16,
    4: ctypes.c_uint32,
    8: ctypes.c_uint64,
}
GAPS = [*Ending, READ_ONLY]

scratch = ctypes.create_string_buffer(4 * PAGE_SIZE)
SCRATCH = ctypes.addressof(scratch)


def gap_id(kind: Ending | str) -> str:
    return (kind.name if isinstance(kind, Ending) else kind).lower()


def raising(status: int, size: int) -> None:
    """Raise what a status of the C library stands for, as the Python functions do."""
    assert status in (0, -errno.EFAULT)
    if status:
        raise fault_error(size)


def wide_strnlen(width: int, addr: int, size: int) -> None:
    count = ctypes.c_void_p()
    raising(lib.axp_strnlen_user(addr, width, -(-size // width), count), size)


class Reader(NamedTuple):
    """A reading operation; ``zeros``: it stops at bytes that are not zero; ``unit``: it counts whole ones."""

    run: Callable[[int, int], object]
    zeros: bool = False
    unit: int = 1


READERS = {
    "copy_from_user": Reader(uaccess.copy_from_user),
    "copy_from_user_into": Reader(lambda addr, size: uaccess.copy_from_user_into(addr, bytearray(size))),
    "copy_in_user": Reader(lambda addr, size: uaccess.copy_in_user(SCRATCH + 3, addr, size)),
    "strnlen_user": Reader(uaccess.strnlen_user),
    "strncpy_from_user": Reader(uaccess.strncpy_from_user),
    "copy_struct_from_user of our size": Reader(
        lambda addr, size: uaccess.copy_struct_from_user(addr, size, ctypes.c_uint8 * size)
    ),
    "copy_struct_from_user of a newer caller": Reader(
        lambda addr, size: uaccess.copy_struct_from_user(addr, size, ctypes.c_uint8 * (size // 2)), zeros=True
    ),
    "copy_struct_from_user of an older caller": Reader(
        lambda addr, size: uaccess.copy_struct_from_user(addr, size, ctypes.c_uint8 * (size + 9))
    ),
    "check_zeroed_user": Reader(uaccess.check_zeroed_user, zeros=True),
    "find_in_user one byte": Reader(lambda addr, size: uaccess.find_in_user(addr, size, b"\xff")),
    "find_in_user long": Reader(lambda addr, size: uaccess.find_in_user(addr, max(size, 40), b"\xff" * 40)),
    "axp_copy_from_user": Reader(lambda addr, size: raising(lib.axp_copy_from_user(SCRATCH, addr, size), size)),
    "axp_raw_copy_from_user": Reader(
        lambda addr, size: raising(lib_dropping_gil.axp_raw_copy_from_user(SCRATCH, addr, size), size)
    ),
    "axp_strncpy_from_user": Reader(
        lambda addr, size: raising(lib.axp_strncpy_from_user(SCRATCH, size, addr, size, ctypes.c_void_p()), size)
    ),
    "axp_strnlen_user of 1": Reader(partial(wide_strnlen, 1)),
    "axp_strnlen_user of 2": Reader(partial(wide_strnlen, 2), unit=2),
    "axp_strnlen_user of 4": Reader(partial(wide_strnlen, 4), unit=4),
    "axp_strnlen_user of 8": Reader(partial(wide_strnlen, 8), unit=8),
}


@pytest.mark.parametrize("name", READERS)
def test_reading_over_the_edge_names_the_first_bad_byte(name: str, ending: Ending, region: Region) -> None:
    """The address is the first bad byte, transferred the bytes before it, and the memory is as it was."""
    reader = READERS[name]
    content = bytes(2 * PAGE_SIZE) if reader.zeros else pattern(2 * PAGE_SIZE)
    poke(region.start, content)
    for distance in DISTANCES:
        for beyond in BEYOND:
            told = f"{name} from {distance} bytes before the edge to {beyond} beyond"
            start, size = region.edge - distance, max(distance, 0) + beyond
            done = max(distance, 0) // reader.unit * reader.unit
            error = fault_of(partial(reader.run, start, size), told)
            assert seen(error) == faulted(max(start, region.edge), done, ending.value, READ), told
    assert peek(region.start, 2 * PAGE_SIZE) == content


@pytest.mark.parametrize("name", READERS)
def test_reading_up_to_the_edge_succeeds(name: str, region: Region) -> None:
    """The last good byte can be read, and no byte beyond it is needed."""
    reader = READERS[name]
    poke(region.start, bytes(2 * PAGE_SIZE) if reader.zeros else pattern(2 * PAGE_SIZE - 1) + b"\0")
    for distance in DISTANCES:
        if distance >= (40 if name == "find_in_user long" else reader.unit) and distance % reader.unit == 0:
            reader.run(region.edge - distance, distance)


def test_partial_copy_returns_exactly_the_readable_prefix(region: Region) -> None:
    """copy_from_user(partial=True) returns every byte before the edge and none after it."""
    content = pattern(2 * PAGE_SIZE)
    poke(region.start, content)
    for distance in DISTANCES:
        for beyond in BEYOND:
            told = f"{distance} bytes before the edge to {beyond} beyond"
            size = max(distance, 0) + beyond
            got = uaccess.copy_from_user(region.edge - distance, size, partial=True)
            assert got == content[len(content) - max(distance, 0) :], told


@pytest.mark.parametrize("own_offset", [0, 1, 13])
def test_failed_copy_into_a_buffer_leaves_the_prefix_and_zeros(own_offset: int, region: Region) -> None:
    """The buffer holds what was read, zeros after it, and nothing around it was written."""
    content = pattern(2 * PAGE_SIZE)
    poke(region.start, content)
    for distance in DISTANCES:
        for beyond in BEYOND:
            told = f"{distance} bytes before the edge to {beyond} beyond"
            good, size = max(distance, 0), max(distance, 0) + beyond
            buffer = bytearray(b"\xaa" * (own_offset + size + 7))
            target = memoryview(buffer)[own_offset : own_offset + size]
            fault_of(partial(uaccess.copy_from_user_into, region.edge - distance, target), told)
            expected = b"\xaa" * own_offset + content[len(content) - good :] + bytes(beyond) + b"\xaa" * 7
            assert buffer == expected, told


def test_copy_in_user_from_an_ending_source_writes_only_the_prefix(region: Region) -> None:
    """The target holds what could be read, and beyond that what it held before."""
    content = pattern(2 * PAGE_SIZE)
    poke(region.start, content)
    blank = b"\xaa" * len(scratch)
    for distance in DISTANCES:
        for beyond in BEYOND:
            told = f"{distance} bytes before the edge to {beyond} beyond"
            good = max(distance, 0)
            scratch.raw = blank
            fault_of(partial(uaccess.copy_in_user, SCRATCH + 5, region.edge - distance, good + beyond), told)
            assert scratch.raw == blank[:5] + content[len(content) - good :] + blank[5 + good :], told


SOURCE = pattern(4 * PAGE_SIZE, first=77)
source_at = 0x101  # misaligned against the target


def write_in_user(addr: int, size: int) -> bytes:
    scratch.raw = SOURCE
    uaccess.copy_in_user(addr, SCRATCH + source_at, size)
    return b""


WRITERS: dict[str, tuple[Callable[[int, int], object], bytes]] = {
    "copy_to_user": (lambda addr, size: uaccess.copy_to_user(addr, memoryview(SOURCE)[:size]), SOURCE),
    "clear_user": (uaccess.clear_user, bytes(4 * PAGE_SIZE)),
    "copy_in_user": (write_in_user, SOURCE[source_at:]),
    "axp_fill_user": (lambda addr, size: raising(lib.axp_fill_user(addr, 0xFE, size), size), b"\xfe" * 4 * PAGE_SIZE),
}


@pytest.mark.parametrize("kind", GAPS, ids=gap_id)
@pytest.mark.parametrize("name", WRITERS)
def test_writing_into_a_gap_changes_exactly_the_bytes_before_it(name: str, kind: Ending | str) -> None:
    """The good bytes before the gap are written, none after it is changed, and the fault says so."""
    run, data = WRITERS[name]
    before, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    with gap_memory(kind) as gap:
        for distance in DISTANCES:
            for beyond in (1, 64, PAGE_SIZE + 1, 2 * PAGE_SIZE + 100):
                told = f"{name} from {distance} bytes before the gap to {beyond} beyond"
                start, good = gap.edge - distance, max(distance, 0)
                gap.fill(before, after)
                error = fault_of(partial(run, start, min(good + beyond, gap.end - start)), told)
                assert seen(error) == faulted(max(start, gap.edge), good, gap.reason, WRITE), told
                assert peek(gap.start, len(before)) == before[: len(before) - good] + data[:good], told
                assert peek(gap.resume, len(after)) == after, told
        if kind == READ_ONLY:
            assert peek(gap.edge, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)


@pytest.mark.parametrize("kind", GAPS, ids=gap_id)
@pytest.mark.parametrize("shift", [1, 7, 64, 100, 2000])
def test_overlapping_copy_upwards_into_a_gap_moves_exactly_the_prefix(shift: int, kind: Ending | str) -> None:
    """With the target above the source, the target ends first: a prefix as by memmove, all else untouched."""
    content, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    with gap_memory(kind) as gap:
        for distance in DISTANCES:
            if distance < 0 or distance + shift > len(content):
                continue
            for beyond in (1, shift, PAGE_SIZE):
                told = f"target {distance} bytes before the gap, source {shift} below it, {beyond} beyond"
                gap.fill(content, after)
                target = len(content) - distance
                source = target - shift
                run = partial(uaccess.copy_in_user, gap.start + target, gap.start + source, distance + beyond)
                assert seen(fault_of(run, told)) == faulted(gap.edge, distance, gap.reason, WRITE), told
                assert peek(gap.start, len(content)) == content[:target] + content[source : source + distance], told
                assert peek(gap.resume, len(after)) == after, told


@pytest.mark.parametrize("kind", list(Ending), ids=gap_id)
@pytest.mark.parametrize("shift", [1, 7, 64, 100, 2000])
def test_overlapping_copy_downwards_from_a_gap_moves_exactly_the_prefix(shift: int, kind: Ending) -> None:
    """With the target below the source, the source ends first: a prefix as by memmove, all else untouched."""
    content, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    with gap_memory(kind) as gap:
        for distance in DISTANCES:
            if distance < 0:
                continue
            for beyond in (1, shift, PAGE_SIZE):
                told = f"source {distance} bytes before the gap, target {shift} below it, {beyond} beyond"
                gap.fill(content, after)
                source = len(content) - distance
                target = source - shift
                run = partial(uaccess.copy_in_user, gap.start + target, gap.start + source, distance + beyond)
                assert seen(fault_of(run, told)) == faulted(gap.edge, distance, gap.reason, READ), told
                expected = content[:target] + content[source:] + content[target + distance :]
                assert peek(gap.start, len(content)) == expected, told
                assert peek(gap.resume, len(after)) == after, told


@pytest.mark.parametrize("target_ending", list(Ending), ids=gap_id)
def test_copy_between_two_ends_stops_at_the_nearer_one(target_ending: Ending, ending: Ending, region: Region) -> None:
    """Whichever side ends first gives address, access and reason; the source, if both end together."""
    poke(region.start, pattern(2 * PAGE_SIZE))
    with gap_memory(target_ending) as gap:
        for source_left in (0, 1, 63, 64, 4000, PAGE_SIZE + 1):
            for target_left in (0, 1, 63, 64, 4000, PAGE_SIZE + 1):
                told = f"source ends after {source_left}, target after {target_left}"
                run = partial(uaccess.copy_in_user, gap.edge - target_left, region.edge - source_left, 2 * PAGE_SIZE)
                expected = (
                    faulted(region.edge, source_left, ending.value, READ)
                    if source_left <= target_left
                    else faulted(gap.edge, target_left, target_ending.value, WRITE)
                )
                assert seen(fault_of(run, told)) == expected, told


@pytest.mark.parametrize("kind", GAPS, ids=gap_id)
@pytest.mark.parametrize("width", UNSIGNED)
def test_a_word_that_faults_transfers_and_changes_nothing(width: int, kind: Ending | str) -> None:
    """get_user and put_user across the edge name its first bad byte and leave the good part as it was."""
    before, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    ctype, value = UNSIGNED[width], 0xFFFE_FDFC_FBFA_F9F8 >> (64 - 8 * width)
    with gap_memory(kind) as gap:
        gap.fill(before, after)
        for distance in (-PAGE_SIZE + 3, -9, -8, -1, *range(width)):
            told = f"{width} bytes from {distance} before the edge"
            at = gap.edge - distance
            error = fault_of(partial(uaccess.put_user, at, ctype, value), told)
            assert seen(error) == faulted(max(at, gap.edge), 0, gap.reason, WRITE), told
            if kind != READ_ONLY:
                error = fault_of(partial(uaccess.get_user, at, ctype), told)
                assert seen(error) == faulted(max(at, gap.edge), 0, gap.reason, READ), told
        assert peek(gap.start, len(before)) == before
        assert peek(gap.resume, len(after)) == after
        for distance in range(width):  # the upper edge of the gap, from below
            at = gap.resume - distance - 1
            error = fault_of(partial(uaccess.put_user, at, ctype, value), f"{width} bytes from {at:#x}")
            assert seen(error) == faulted(at, 0, gap.reason, WRITE), f"{width} bytes at {distance + 1} before its end"
        assert peek(gap.resume, len(after)) == after


ATOMICS: dict[str, Callable[[int, type[Any]], object]] = {
    "load": atomics.load,
    "store": lambda addr, ctype: atomics.store(addr, ctype, 5),
    "exchange": lambda addr, ctype: atomics.exchange(addr, ctype, 5),
    "compare_exchange": lambda addr, ctype: atomics.compare_exchange(addr, ctype, 0, 5),
    "fetch_add": lambda addr, ctype: atomics.fetch_add(addr, ctype, 1),
    "fetch_and": lambda addr, ctype: atomics.fetch_and(addr, ctype, 1),
    "fetch_or": lambda addr, ctype: atomics.fetch_or(addr, ctype, 0),
    "fetch_xor": lambda addr, ctype: atomics.fetch_xor(addr, ctype, 1),
}


@pytest.mark.parametrize("kind", GAPS, ids=gap_id)
@pytest.mark.parametrize("width", UNSIGNED)
@pytest.mark.parametrize("name", ATOMICS)
def test_an_atomic_beyond_the_edge_faults_and_changes_nothing(name: str, width: int, kind: Ending | str) -> None:
    """It names its own address and READ or WRITE; across the edge it is refused as misaligned."""
    access = READ if name == "load" else WRITE
    before, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    with gap_memory(kind) as gap:
        gap.fill(before, after)
        for offset in (0, 8, PAGE_SIZE - 8, PAGE_SIZE, 2 * PAGE_SIZE - 8):
            if kind == READ_ONLY and name == "load":
                assert atomics.load(gap.edge + offset, UNSIGNED[width]) == 0
                continue
            told = f"{name} of {width} bytes {offset} beyond the edge"
            error = fault_of(partial(ATOMICS[name], gap.edge + offset, UNSIGNED[width]), told)
            assert seen(error) == faulted(gap.edge + offset, 0, gap.reason, access), told
        for distance in range(1, width):
            told = f"{name} of {width} bytes {distance} before the edge"
            error = fault_of(partial(ATOMICS[name], gap.edge - distance, UNSIGNED[width]), told)
            assert seen(error) == refused(gap.edge - distance, FaultReason.MISALIGNED, access), told
        assert peek(gap.start, len(before)) == before
        assert peek(gap.resume, len(after)) == after
        if kind == READ_ONLY:
            assert peek(gap.edge, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)


def test_every_atomic_is_held_to_it() -> None:
    """The table above has every public function of the module."""
    assert set(ATOMICS) == set(atomics.__all__)


@pytest.mark.parametrize("kind", GAPS, ids=gap_id)
def test_probes_count_up_to_the_gap_and_change_nothing(kind: Ending | str) -> None:
    """Both count the accessible bytes from the start, at most the size; read-only memory is readable."""
    before, after = pattern(2 * PAGE_SIZE), pattern(2 * PAGE_SIZE, first=99)
    with gap_memory(kind) as gap:
        gap.fill(before, after)
        for distance in DISTANCES:
            for beyond in (0, 1, PAGE_SIZE, 2 * PAGE_SIZE + 1):
                told = f"{distance} bytes before the gap to {beyond} beyond"
                start, good = gap.edge - distance, max(distance, 0)
                size = min(good + beyond, gap.end - start)
                assert uaccess.probe_write(start, size) == good, told
                assert uaccess.probe_read(start, size) == (size if kind == READ_ONLY else good), told
        assert uaccess.probe_write(gap.start, 1) == uaccess.probe_write(gap.edge - 1, 1) == 1
        assert peek(gap.start, len(before)) == before
        assert peek(gap.resume, len(after)) == after
