# SPDX-License-Identifier: MIT
"""Mapping and protecting memory: the system's calls, with its errors as OSError."""

from __future__ import annotations

from ctypes import c_void_p

from ._native import MAP_FIXED, MAP_RESERVE, check_status, lib, lib_dropping_gil
from .flags import MappingFlags

READ_WRITE = MappingFlags.READ | MappingFlags.WRITE
NO_ACCESS = MappingFlags(0)


def map_memory(
    size: int, flags: MappingFlags, *, start: int = 0, options: int = 0, file: int = -1, offset: int = 0
) -> int:
    """Map ``size`` bytes, of a file if there is one, and return where."""
    address = c_void_p()
    # Populating may have to wait for a disk.
    check_status(lib_dropping_gil.axp_map(start, size, flags, options, file, offset, address))
    return address.value or 0


def reserve_memory(size: int, *, start: int = 0) -> int:
    """Take address space that allows no access; at ``start``, in place of what is there, if that is given."""
    return map_memory(size, NO_ACCESS, start=start, options=MAP_RESERVE | (MAP_FIXED if start else 0))


def protect_memory(start: int, size: int, flags: MappingFlags) -> None:
    """Allow just this access."""
    check_status(lib.axp_protect(start, size, flags))


def unmap_memory(start: int, size: int) -> None:
    """Give the addresses back."""
    check_status(lib.axp_unmap(start, size))
