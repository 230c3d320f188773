# SPDX-License-Identifier: MIT
"""Memory that ends: pages that are good up to an edge and really fault beyond it."""

from __future__ import annotations

import contextlib
import enum
import mmap
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ._memory import NO_ACCESS, READ_WRITE, map_memory, protect_memory, unmap_memory
from ._native import ADDRESS_MAX, MAP_FIXED, MAP_SHARED
from .addr import PAGE_SIZE
from .errors import FaultReason

if TYPE_CHECKING:
    from .flags import MappingFlags

_TRIES = 64
EMPTY = (0x1000_0000_0000, 0x2000_0000_0000) if ADDRESS_MAX >> 32 else (0x6000_0000, 0xA000_0000)
"""Far from where systems put programs, libraries, and stacks, which must be able to grow."""


def is_x86_64() -> bool:
    """Return whether this is a 64-bit program on x86-64; the system names a 32-bit one's processor alike."""
    return platform.machine() in ("x86_64", "AMD64") and ADDRESS_MAX >> 32 != 0


def never_canonical() -> int | None:
    """Return an address that the processor cannot form, however many bits it has for one, or None."""
    return 0xDEAD_BEEF_DEAD_BEE8 if is_x86_64() else None


class Ending(enum.Enum):
    """What lies beyond the edge; the value is the reason of a fault there."""

    PROTECTION = FaultReason.NOT_PERMITTED
    HOLE = FaultReason.NOT_MAPPED
    END_OF_FILE = FaultReason.BEYOND_END


ENDINGS = tuple(ending for ending in Ending if ending is not Ending.END_OF_FILE or sys.platform != "win32")
"""Those that this system has: in Windows a mapping goes no further than its file, which cannot be cut meanwhile."""


class Region(NamedTuple):
    """Good bytes from ``start`` up to ``edge``, and bad ones from there to ``end``."""

    start: int
    edge: int
    end: int


@contextlib.contextmanager
def ending_memory(
    ending: Ending,
    *,
    good: int = 2 * PAGE_SIZE,
    bad: int = 2 * PAGE_SIZE,
    before: int = PAGE_SIZE,
    flags: MappingFlags = READ_WRITE,
) -> Iterator[Region]:
    """Give ``good`` bytes of zeros followed by ``bad`` bytes that fault, and ``before`` of them, all whole pages.

    ``flags`` is what the good pages allow; those before them allow nothing, whatever the ending.

    Raises:
        OSError: ENOTSUP for an ending that the system has not.
    """
    reserved = _reserve(before + good + bad)
    start, size = reserved + before, good + bad
    ours = before + size
    try:
        if ending is Ending.END_OF_FILE:
            with tempfile.TemporaryFile() as file:
                file.truncate(good)
                map_memory(size, flags, start=start, options=MAP_FIXED | MAP_SHARED, file=file.fileno())
        elif ending is Ending.HOLE:
            _cut(reserved, before + good, bad)
            ours -= bad  # whatever the system puts into a hole is somebody else's
        if good and ending is not Ending.END_OF_FILE:
            protect_memory(start, good, flags)
        yield Region(start, start + good, start + size)
    finally:
        if ours:
            unmap_memory(reserved, ours)


def _cut(reserved: int, kept: int, cut: int) -> None:
    """Unmap the end of a reservation, or reserve the rest anew, where one is only unmapped as a whole."""
    if sys.platform != "win32":
        unmap_memory(reserved + kept, cut)
        return
    unmap_memory(reserved, kept + cut)
    if kept:
        map_memory(kept, NO_ACCESS, start=reserved, options=MAP_FIXED)


def _reserve(size: int) -> int:
    """Reserve address space where the system puts nothing by itself, so that a hole in it stays one.

    Where addresses are too few for that, the system chooses.
    """
    chosen = random.SystemRandom()  # not the global one, which tests seed alike in every process
    for _ in range(_TRIES):
        hint = chosen.randrange(*EMPTY, mmap.ALLOCATIONGRANULARITY)
        start = map_memory(size, NO_ACCESS, start=hint)
        if start == hint:
            return start
        unmap_memory(start, size)
    return map_memory(size, NO_ACCESS)
