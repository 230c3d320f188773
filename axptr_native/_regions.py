# SPDX-License-Identifier: MIT
"""Memory that ends: pages that are good up to an edge and really fault beyond it."""

from __future__ import annotations

import contextlib
import enum
import os
import random
import tempfile
from collections.abc import Iterator
from ctypes import c_void_p
from typing import NamedTuple

from . import _native
from ._native import MAP_FIXED, MAP_SHARED, check_status, lib
from .addr import PAGE_SIZE
from .errors import FaultReason
from .flags import MappingFlags

READ_WRITE = MappingFlags.READ | MappingFlags.WRITE
NO_ACCESS = MappingFlags(0)


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


def map_memory(size: int, flags: MappingFlags, *, start: int = 0, options: int = 0, file: int = -1) -> int:
    """Map ``size`` bytes, of a file if there is one, and return where."""
    address = c_void_p()
    check_status(_native.lib_dropping_gil.axp_map(start, size, flags, options, file, 0, address))
    return address.value or 0


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
            check_status(lib.axp_protect(start, good, flags))
        if ending is Ending.HOLE:
            check_status(lib.axp_unmap(start + good, bad))
        yield Region(start, start + good, start + size)
    finally:
        check_status(lib.axp_unmap(start, size))


def _reserve(size: int) -> int:
    """Reserve address space where the system puts nothing by itself, so that a hole in it stays one."""
    chosen = random.Random(os.urandom(8))  # not the global one, which tests seed alike in every process
    while True:
        hint = chosen.randrange(0x1000_0000_0000, 0x2000_0000_0000, PAGE_SIZE)
        start = map_memory(size, NO_ACCESS, start=hint)
        if start == hint:
            return start
        check_status(lib.axp_unmap(start, size))
