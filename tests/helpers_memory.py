# SPDX-License-Identifier: MIT
"""Unguarded looks at good memory, memory with a gap, and what a fault must say."""

import contextlib
import ctypes
import mmap
import signal
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

import pytest
from helpers_platform import NOT_HERE

from axptr_native import PAGE_SIZE, FaultError, FaultReason, MappingFlags, uaccess
from axptr_native._memory import READ_WRITE, map_memory, unmap_memory
from axptr_native._native import ADDRESS_MAX, MAP_FIXED, check_status, lib
from axptr_native._regions import Ending, Region, ending_memory

READ, WRITE = MappingFlags.READ, MappingFlags.WRITE

DISTANCES = (-PAGE_SIZE + 1, -17, -1, *range(65), 100, 511, 1000, 3200, 4096)
"""Good bytes before the edge where an access starts; the negative ones start beyond it."""

SIGNALS = {
    FaultReason.NOT_MAPPED: signal.SIGSEGV,
    FaultReason.NOT_PERMITTED: signal.SIGSEGV,
    FaultReason.BEYOND_END: getattr(signal, "SIGBUS", signal.SIGSEGV),
}

LAST_CHARACTER = "\U0010ffff" if ctypes.sizeof(ctypes.c_wchar) > 2 else "\uffff"
"""Of those that a wchar_t holds."""

READ_ONLY = "READ_ONLY"

END = ADDRESS_MAX + 1
"""What comes after the last address: 2**64, or 2**32."""

FAR = 2**40 if ADDRESS_MAX >> 32 else 2**26
"""More bytes than a test's memory has, and fewer than lie above it."""


class Gap(NamedTuple):
    """Good bytes in ``[start, edge)`` and ``[resume, end)``, and two bad pages between them."""

    start: int
    edge: int
    resume: int
    end: int
    reason: FaultReason

    def fill(self, before: bytes, after: bytes) -> None:
        """Put known bytes into the good pages on both sides."""
        poke(self.start, before)
        poke(self.resume, after)


class Seen(NamedTuple):
    """What a FaultError says."""

    address: int
    transferred: int
    reason: FaultReason
    access: MappingFlags
    signal: int | None


class Indexed:
    """An integer to those who ask for an index, and nothing else."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


def reason_at(address: int) -> FaultReason | None:
    """Return why a byte cannot be read, or None if it can."""
    try:
        uaccess.copy_from_user(address, 1)
    except FaultError as error:
        return error.reason
    return None


def require(ending: Ending) -> None:
    """Skip a test where a fault of memory that ends so is not told as what it is."""
    reason = NOT_HERE.get(str(ending))
    if reason is not None:
        pytest.skip(reason)


def pattern(size: int, *, first: int = 0) -> bytes:
    """Return bytes from 1 to 251 whose period divides no page: each place tells where it came from."""
    period = bytes((first + i) % 251 + 1 for i in range(251))
    return (period * (size // 251 + 1))[:size]


def poke(address: int, data: bytes) -> None:
    """Write good memory, unguarded."""
    ctypes.memmove(address, data, len(data))


def peek(address: int, size: int) -> bytes:
    """Return good memory's bytes, read unguarded."""
    return ctypes.string_at(address, size)


@contextlib.contextmanager
def good_memory(pages: int = 4, flags: MappingFlags = READ_WRITE) -> Iterator[int]:
    """Give the address of pages that are good, and bad beyond."""
    with ending_memory(Ending.PROTECTION, good=pages * PAGE_SIZE, bad=PAGE_SIZE, flags=flags) as region:
        yield region.start


@contextlib.contextmanager
def gap_memory(kind: Ending | str) -> Iterator[Gap]:
    """Give two good pages, two bad ones and two good ones; READ_ONLY ones are bad for writing only."""
    ending = kind if isinstance(kind, Ending) else Ending.PROTECTION
    require(ending)
    before = max(mmap.ALLOCATIONGRANULARITY - 4 * PAGE_SIZE, PAGE_SIZE)  # so that what follows a hole can be mapped
    with ending_memory(ending, bad=4 * PAGE_SIZE, before=before) as region:
        resume = region.edge + 2 * PAGE_SIZE
        with resumed(resume, region, ending):
            if kind == READ_ONLY:
                check_status(lib.axp_protect(region.edge, 2 * PAGE_SIZE, READ))
            yield Gap(region.start, region.edge, resume, region.end, ending.value)


@contextlib.contextmanager
def resumed(resume: int, region: Region, ending: Ending) -> Iterator[None]:
    """Have good pages from an address up to the end of a region."""
    size = region.end - resume
    map_memory(size, READ_WRITE, start=resume, options=MAP_FIXED)
    try:
        yield
    finally:
        if ending is Ending.HOLE:  # the others go as a whole
            unmap_memory(resume, size)


@contextlib.contextmanager
def mapped_file(content: bytes, access: int = mmap.ACCESS_WRITE) -> Iterator[tuple[IO[bytes], mmap.mmap]]:
    """Give a file of ``content``, and its mapping."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with mmap.mmap(file.fileno(), 0, access=access) as mapping:
            yield file, mapping


def fault_of(run: Callable[[], object], told: str) -> FaultError:
    """Return the FaultError that ``run`` raises; fail with ``told`` if it raises none."""
    try:
        result = run()
    except FaultError as error:
        return error
    pytest.fail(f"{told}: no fault, but {result!r:.100}")


def seen(error: FaultError) -> Seen:
    """Return what an error says, to be compared as a whole."""
    return Seen(int(error.address), error.transferred, error.reason, error.access, error.signal)


def faulted(address: int, transferred: int, reason: FaultReason, access: MappingFlags) -> Seen:
    """Return what the error of a real fault must say."""
    return Seen(address, transferred, reason, access, SIGNALS[reason])


def refused(address: int, reason: FaultReason, access: MappingFlags) -> Seen:
    """Return what the error of an access must say that was refused before anything was touched."""
    return Seen(address, 0, reason, access, None)
