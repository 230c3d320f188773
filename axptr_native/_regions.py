# SPDX-License-Identifier: MIT
"""Memory that ends: pages that are good up to an edge and really fault beyond it."""

from __future__ import annotations

import contextlib
import enum
import os
import random
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ._memory import NO_ACCESS, READ_WRITE, map_memory, protect_memory, unmap_memory
from ._native import MAP_FIXED, MAP_SHARED
from .addr import PAGE_SIZE
from .errors import FaultReason

if TYPE_CHECKING:
    from .flags import MappingFlags


class Ending(enum.Enum):
    """What lies beyond the edge; the value is the reason of a fault there."""

    PROTECTION = FaultReason.NOT_PERMITTED
    HOLE = FaultReason.NOT_MAPPED
    END_OF_FILE = FaultReason.BEYOND_END


class Region(NamedTuple):
    """Good bytes from ``start`` up to ``edge``, and bad ones from there to ``end``."""

    start: int
    edge: int
    end: int


@contextlib.contextmanager
def ending_memory(
    ending: Ending, *, good: int = 2 * PAGE_SIZE, bad: int = 2 * PAGE_SIZE, flags: MappingFlags = READ_WRITE
) -> Iterator[Region]:
    """Give ``good`` bytes of zeros followed by ``bad`` bytes that fault, both whole pages.

    ``flags`` is what the good pages allow.
    """
    size = good + bad
    start = _reserve(size)
    try:
        if ending is Ending.END_OF_FILE:
            with tempfile.TemporaryFile() as file:
                file.truncate(good)
                map_memory(size, flags, start=start, options=MAP_FIXED | MAP_SHARED, file=file.fileno())
        elif good:
            protect_memory(start, good, flags)
        if ending is Ending.HOLE:
            unmap_memory(start + good, bad)
        yield Region(start, start + good, start + size)
    finally:
        unmap_memory(start, size)


def _reserve(size: int) -> int:
    """Reserve address space where the system puts nothing by itself, so that a hole in it stays one."""
    chosen = random.Random(os.urandom(8))  # not the global one, which tests seed alike in every process
    while True:
        hint = chosen.randrange(0x1000_0000_0000, 0x2000_0000_0000, PAGE_SIZE)
        start = map_memory(size, NO_ACCESS, start=hint)
        if start == hint:
            return start
        unmap_memory(start, size)
