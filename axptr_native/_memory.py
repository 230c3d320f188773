# SPDX-License-Identifier: MIT
"""Mapping and protecting memory: the system's calls, with its errors as OSError."""

from __future__ import annotations

import contextlib
import sys
from ctypes import c_void_p
from typing import TYPE_CHECKING, NamedTuple

from ._native import MAP_FIXED, MAP_RESERVE, MAP_SHARED, check_status, lib, lib_dropping_gil
from .addr import PAGE_SIZE
from .flags import MappingFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_WRITE = MappingFlags.READ | MappingFlags.WRITE
NO_ACCESS = MappingFlags(0)


class Change(NamedTuple):
    """What a run of pages allows, before and after."""

    start: int
    size: int
    before: MappingFlags
    after: MappingFlags


def map_memory(
    size: int, flags: MappingFlags, *, start: int = 0, options: int = 0, file: int = -1, offset: int = 0
) -> int:
    """Map ``size`` bytes, of a file if there is one, and return where."""
    address = c_void_p()
    if file >= 0:
        file = _system_file(file)
    # Populating may have to wait for a disk.
    check_status(lib_dropping_gil.axp_map(start, size, flags, options, file, offset, address))
    return address.value or 0


def _system_file(descriptor: int) -> int:
    """Return what the system calls a file; in Windows a descriptor is only its C library's."""
    if sys.platform == "win32":
        import msvcrt

        return msvcrt.get_osfhandle(descriptor)
    return descriptor


def reserve_memory(size: int, *, start: int = 0) -> int:
    """Take address space that allows no access; at ``start``, in place of what is there, if that is given."""
    return map_memory(size, NO_ACCESS, start=start, options=MAP_RESERVE | (MAP_FIXED if start else 0))


def protect_memory(start: int, size: int, flags: MappingFlags) -> None:
    """Allow just this access."""
    check_status(lib.axp_protect(start, size, flags))


@contextlib.contextmanager
def changed_protection(changes: list[Change]) -> Iterator[None]:
    """Allow the new access everywhere, or leave it as it was everywhere, also if the block fails.

    A split that a change needs may be one mapping too many.  Taken back in the other order, no step needs more
    mappings than there were at that point before, but for two.  Of two splits that a change needs, the first may be
    done, and stays; and mmap goes one mapping further than a split may, so what is joined there could not be taken
    apart again.  So one mapping is kept to spare, where there is room for two.

    Raises:
        OSError: The system's own.  Nothing was changed, unless other threads took the last mappings meanwhile.
    """
    with contextlib.ExitStack() as spare:
        if sum(change.size for change in changes) > PAGE_SIZE:
            spare.callback(unmap_memory, _map_alone(), PAGE_SIZE)
            unmap_memory(_map_alone(), PAGE_SIZE)
        tried: list[Change] = []
        try:
            for change in changes:
                tried.append(change)
                protect_memory(change.start, change.size, change.after)
            yield
        except BaseException:
            spare.close()
            for change in reversed(tried):
                with contextlib.suppress(OSError):  # of one that cannot go back, the others still can
                    protect_memory(change.start, change.size, change.before)
            raise


def _map_alone() -> int:
    """Map a page that is joined with no other."""
    return map_memory(PAGE_SIZE, NO_ACCESS, options=MAP_SHARED)


def unmap_memory(start: int, size: int) -> None:
    """Give the addresses back."""
    check_status(lib.axp_unmap(start, size))
