# SPDX-License-Identifier: MIT
"""Mapping through the C ABI."""

import ctypes
import errno
import os
import tempfile
from collections.abc import Iterator
from typing import IO

import pytest
from helpers_memory import END, READ_ONLY, gap_memory, good_memory, pattern, peek, poke

from axptr_native import PAGE_SIZE, MappingFlags, uaccess
from axptr_native._memory import READ_WRITE
from axptr_native._native import (
    ADDRESS_MAX,
    MAP_FIXED,
    MAP_POPULATE,
    MAP_RESERVE,
    MAP_SHARED,
    Fault,
    check_status,
    lib,
)
from axptr_native._regions import Ending

pytestmark = pytest.mark.usefixtures("no_records_left_over")

READ, WRITE, EXECUTE = MappingFlags.READ, MappingFlags.WRITE, MappingFlags.EXECUTE


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
        assert lib.axp_take_fault(Fault()) == -errno.ENOENT


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
