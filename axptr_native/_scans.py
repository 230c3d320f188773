# SPDX-License-Identifier: MIT
"""How far user memory goes: to a byte that is zero or is not, or to one that cannot be accessed."""

from __future__ import annotations

from ctypes import addressof, c_uint8, c_void_p

from ._native import check_span, fault_error, go_on, lib, lib_for
from ._paging import can_resolve, resume
from .errors import FaultError, FaultReason
from .flags import MappingFlags

_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE


def count_elements(addr: int, width: int, limit: int) -> int:
    """Return the elements of 1, 2, 4 or 8 bytes before the first that is zero, at most ``limit``."""
    addr, size = check_span(addr, limit * width, _READ)
    count = c_void_p()
    start = 0
    if size and lib_for(size).axp_strnlen_user(addr, width, limit, count):
        start = resume(
            lambda done: lib_for(size).axp_strnlen_user(addr + done, width, limit - done // width, count), size
        )
    return start // width + (count.value or 0)


def find_nonzero(addr: int, size: int, asked: int, *, before: int = 0) -> int:
    """Return the offset of the first byte that is not zero, or ``size``.

    Args:
        addr: Where to look.
        size: How many bytes; the caller has checked the span.
        asked: Bytes that the whole operation was asked for.
        before: Bytes that it had done before.
    """
    offset = c_void_p()
    start = 0
    if size and lib_for(size).axp_find_nonzero_user(addr, size, offset):
        start = resume(
            lambda done: lib_for(size).axp_find_nonzero_user(addr + done, size - done, offset), asked, before=before
        )
    return start + (offset.value or 0)


def count_accessible(addr: int, size: int, access: MappingFlags) -> int:
    """Return how many bytes can be accessed, counted from the start."""
    addr, size = check_span(addr, size, access)
    library = lib_for(size)
    probe = library.axp_probe_write if access is _WRITE else library.axp_probe_read
    accessible = c_void_p()
    done = 0
    failed = probe(addr, size, accessible)
    while not failed:
        done += accessible.value or 0
        if done == size or not can_resolve(addr + done, access):
            return done
        failed = go_on(probe, addr + done, size - done, accessible)
    error = fault_error(size)
    if error.reason is FaultReason.INJECTED:
        return 0
    raise error


def find_fault(addr: int, size: int, access: MappingFlags) -> FaultError | None:
    """Return the fault that an access to a span would be, or None."""
    accessible = count_accessible(addr, size, access)
    if accessible == size:
        return None
    nothing, seen = c_uint8(0), c_uint8()
    if access is _WRITE:
        failed = lib.axp_atomic_fetch_or(addr + accessible, 1, addressof(nothing), addressof(seen))
    else:
        failed = lib.axp_load(addr + accessible, 1, addressof(seen))
    return fault_error(size, before=accessible) if failed else None
