# SPDX-License-Identifier: MIT
"""The kernel's verbs for user memory, on plain addresses.

Addresses are ints (or what has ``__index__``), sizes are in bytes.  Every function raises FaultError where an
unguarded access would have ended the process; ``transferred`` counts the bytes that were done, or looked at, before
it. Nothing is wrapped around: an address or a size that is negative, or that does not fit into the address space,
is FaultError with reason OUT_OF_RANGE, and what is no integer TypeError, before anything is touched.  Size 0 at any
address of the address space succeeds and touches nothing.  Everything may be called from any thread.  Accesses of 1
MiB and more drop the GIL.  Smaller ones keep it unless they are told otherwise: beside a busy thread it takes longer
to get it back than to read what is in memory.

What a check or a probe found may have changed by the time of the next access: only the access itself is the truth.
"""

from __future__ import annotations

from ctypes import addressof, c_void_p
from operator import index

from ._buffer import locate, new_bytes, view_of
from ._builtins import builtin
from ._native import as_one, check_span, go_on, lib, lib_for
from ._paging import resume
from ._scalar import scalar_of
from ._scans import count_accessible, count_elements, find_fault, find_nonzero
from ._structures import copy_struct_from_user
from .errors import FaultError, TooLongError
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "check_zeroed_user",
    "clear_user",
    "copy_from_user",
    "copy_from_user_into",
    "copy_in_user",
    "copy_struct_from_user",
    "copy_to_user",
    "find_in_user",
    "get_user",
    "probe_read",
    "probe_write",
    "put_user",
    "strncpy_from_user",
    "strnlen_user",
]

_LARGE = 4 << 20
"""From this size on, the faults of fresh memory are most of the time of a copy."""
_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE

copy_struct_from_user.__module__ = __name__  # where it is public, and where pickles look for it


@builtin
def copy_from_user(addr: int, size: int, *, partial: bool = False, release_gil: bool = False) -> bytes:
    """Return the ``size`` bytes at ``addr``.

    Args:
        addr: Where to read.
        size: How many bytes.
        partial: Return the bytes before the first bad one instead of raising.
        release_gil: Drop the GIL even for less than 1 MiB: for memory that may have to come from a disk.

    Raises:
        FaultError: Not all of it can be read; ``transferred`` counts the bytes before the first bad one.  With
            ``partial``, only with reason OUT_OF_RANGE.
        MemoryError: It can be read, but this process has no room for the result.

    Source: Linux ``copy_from_user``.
    """
    addr, size = check_span(addr, size, _READ)
    try:
        data, own = new_bytes(size)
    except (MemoryError, OverflowError):
        return _copy_without_room(addr, size, partial)
    if size >= _LARGE:
        lib.axp_prefer_large_pages(own, size)
    copy = lib_for(size, release_gil).axp_raw_copy_from_user
    if size and copy(own, addr, size):
        try:
            resume(lambda done: copy(own + done, addr + done, size - done), size)
        except FaultError as error:
            if not partial:
                raise
            return bytes(data[: error.transferred])
    return bytes(data)


def _copy_without_room(addr: int, size: int, partial: bool) -> bytes:
    """Read more than there is room for: most often a size that is nonsense, and memory that ends long before."""
    error: FaultError | None
    try:
        error = as_one(addr, size, _READ, find_fault, addr, size, _READ)
    except FaultError as injected:
        error = injected
    if error is None:
        raise MemoryError(f"no room for the {size} bytes at {addr:#x}")
    if not partial:
        raise error
    return go_on(copy_from_user, addr, error.transferred, partial=True)


@builtin
def copy_from_user_into(addr: int, buffer: WriteableBuffer, *, release_gil: bool = False) -> None:
    """Fill a writable buffer from ``addr``.

    Args:
        addr: Where to read.
        buffer: A contiguous writable buffer (bytearray, memoryview, mmap, array, numpy array).  It is our own memory:
            if the buffer itself is bad, a mapping of a truncated file say, the process crashes.
        release_gil: Drop the GIL even for less than 1 MiB: for memory that may have to come from a disk.

    Raises:
        FaultError: Not all of it can be read.  The first ``transferred`` bytes of the buffer are what was read, the
            rest is zeroed; with reason OUT_OF_RANGE it is left alone.
        TypeError: ``buffer`` is not a writable buffer.
        BufferError: ``buffer`` is not contiguous.

    Source: Linux ``copy_from_user``.
    """
    with view_of(buffer) as view:
        own, size = locate(view, writable=True)
        addr, size = check_span(addr, size, _READ)
        copy = lib_for(size, release_gil).axp_copy_from_user
        if size and copy(own, addr, size):
            resume(lambda done: copy(own + done, addr + done, size - done), size)


@builtin
def copy_to_user(addr: int, data: ReadableBuffer, *, release_gil: bool = False) -> None:
    """Write the bytes of ``data`` at ``addr``.

    Args:
        addr: Where to write.
        data: Any contiguous buffer.  It is our own memory: if the buffer itself is bad, the process crashes.  It may
            not overlap the target, which is written page by page; ``write`` of spaces and slices, and GuardedView,
            look for that first.
        release_gil: Drop the GIL even for less than 1 MiB: for memory that may have to come from a disk.

    Raises:
        FaultError: Not all of it can be written.  The first ``transferred`` bytes were, and nothing beyond them was
            changed.
        TypeError: ``data`` is not a buffer.
        BufferError: ``data`` is not contiguous.

    Source: Linux ``copy_to_user``.
    """
    with view_of(data) as view:
        own, size = locate(view, writable=False)
        addr, size = check_span(addr, size, _WRITE)
        copy = lib_for(size, release_gil).axp_copy_to_user
        if size and copy(addr, own, size):
            resume(lambda done: copy(addr + done, own + done, size - done), size)


def copy_in_user(dst: int, src: int, size: int) -> None:
    """Copy ``size`` bytes from ``src`` to ``dst``, neither of them trusted.  The spans may overlap (memmove).

    Raises:
        FaultError: ``access`` tells which side failed (READ: ``src``, WRITE: ``dst``).  The first ``transferred``
            bytes were copied and nothing beyond them was changed, unless the spans overlap with ``dst`` above ``src``
            and the memory went away during the call: then bytes beyond may have been copied too.

    Source: Linux ``raw_copy_in_user``.
    """
    src, size = check_span(src, size, _READ)
    dst, size = check_span(dst, size, _WRITE)
    if src < dst < src + size:
        as_one(src, size, _READ, _copy_up, dst, src, size)
    elif size and lib_for(size).axp_copy_in_user(dst, src, size):
        resume(lambda done: lib_for(size).axp_copy_in_user(dst + done, src + done, size - done), size)


def _copy_up(dst: int, src: int, size: int) -> None:
    """Copy into a target that starts inside the source.

    The end goes first: what is copied then cannot be gone on with, so what can be paged in is paged in before.
    """
    probe_read(src, size)
    probe_write(dst, size)
    if lib_for(size).axp_copy_in_user(dst, src, size):
        resume(lambda done: lib_for(size).axp_copy_in_user(dst + done, src + done, size - done), size)


def clear_user(addr: int, size: int) -> None:
    """Write ``size`` zero bytes at ``addr``.

    Raises:
        FaultError: The first ``transferred`` bytes were written and nothing beyond them was changed.

    Source: Linux ``clear_user``.
    """
    addr, size = check_span(addr, size, _WRITE)
    if size and lib_for(size).axp_fill_user(addr, 0, size):
        resume(lambda done: lib_for(size).axp_fill_user(addr + done, 0, size - done), size)


@builtin
def get_user(addr: int, ctype: type[Any]) -> Any:
    """Return the value of a ctypes simple type at ``addr``, read in one access of its width.

    Args:
        addr: Where to read.  It may be misaligned; then the access may not be atomic.
        ctype: A simple type of 1, 2, 4 or 8 bytes (``c_int``, ``c_double``, ``c_bool``, ``c_char`` ...) or a pointer
            type.

    Returns:
        What ``ctype``'s ``value`` would be.  For every pointer type, ``c_char_p`` included, the address as an int, or
        None if it is null: what it points to is not read.

    Raises:
        FaultError: It cannot be read; ``transferred`` is 0.
        TypeError: ``ctype`` is not such a type.
        ValueError: A ``c_wchar`` is there that is no character.

    Source: Linux ``get_user``.
    """
    scalar = scalar_of(ctype)
    addr, size = check_span(addr, scalar.width, _READ)
    value = scalar.carrier()
    if lib.axp_load(addr, size, addressof(value)):
        resume(lambda _: lib.axp_load(addr, size, addressof(value)), size)
    return value.value


@builtin
def put_user(addr: int, ctype: type[Any], value: Any) -> None:
    """Write a value of a ctypes simple type at ``addr``, in one access of its width.

    Args:
        addr: Where to write.  It may be misaligned; then the access may not be atomic.
        ctype: A simple type of 1, 2, 4 or 8 bytes or a pointer type.
        value: What ``ctype`` takes.  For pointer types: an address, None, a pointer, or for ``POINTER(T)`` an array of
            ``T``.  The address alone is written: what is there has to be kept alive for as long as anybody uses it.

    Raises:
        FaultError: It cannot be written, and nothing was; ``transferred`` is 0.
        TypeError: ``ctype`` is not such a type, or ``value`` is none of its values.
        ValueError: A number or an address does not fit.  A float is rounded as ctypes does it.

    Source: Linux ``put_user``.
    """
    scalar = scalar_of(ctype)
    addr, size = check_span(addr, scalar.width, _WRITE)
    packed = scalar.pack(value)
    if lib.axp_store(addr, size, addressof(packed)):
        resume(lambda _: lib.axp_store(addr, size, addressof(packed)), size)


@builtin
def strnlen_user(addr: int, limit: int) -> int:
    """Return the bytes before the first zero byte at ``addr``, at most ``limit``; ``limit`` if there is none.

    No page after the one that holds the zero byte is touched.

    Raises:
        FaultError: Memory ends before a zero byte and before ``limit``.

    Source: C ``strnlen``.  Linux's ``strnlen_user`` counts the zero byte too.
    """
    return count_elements(addr, 1, index(limit))


@builtin
def strncpy_from_user(addr: int, limit: int) -> bytes:
    """Return the string at ``addr``, without its zero byte.

    Args:
        addr: Where the string starts.
        limit: The most bytes to look at, the zero byte included.  0 gives an empty string.

    Raises:
        FaultError: Memory ends before the string does.
        TooLongError: There is no zero byte within ``limit`` bytes.

    Source: Linux ``strncpy_from_user``, which returns what fits instead of failing.
    """
    length = strnlen_user(addr, limit)
    if length == limit and limit:
        raise TooLongError(addr, limit)
    # It may have changed since it was measured: it ends at the first zero byte that was read.
    return go_on(copy_from_user, addr, length).partition(b"\0")[0]


def check_zeroed_user(addr: int, size: int) -> bool:
    """Return whether all ``size`` bytes at ``addr`` are zero.

    Raises:
        FaultError: Memory ends before a byte that is not zero.

    Source: Linux ``check_zeroed_user``.
    """
    addr, size = check_span(addr, size, _READ)
    return find_nonzero(addr, size, size) == size


@builtin
def find_in_user(addr: int, size: int, needle: ReadableBuffer, *, release_gil: bool = False) -> int | None:
    """Return the offset in bytes from ``addr`` of the first occurrence of ``needle``, or None.

    Args:
        addr: Where to search.
        size: How many bytes; an occurrence lies wholly within them.
        needle: The bytes to find.  Empty: found at offset 0, touching nothing.
        release_gil: Drop the GIL even for less than 1 MiB: for memory that may have to come from a disk.

    Raises:
        FaultError: Memory ends within the ``size`` bytes, and no occurrence was complete before.
        TypeError: ``needle`` is not a buffer.
        BufferError: ``needle`` is not contiguous.

    Source: C ``memmem``.
    """
    addr, size = check_span(addr, size, _READ)
    offset = c_void_p()
    start = 0
    with view_of(needle) as view:
        own, needle_size = locate(view, writable=False)
        find = lib_for(size, release_gil).axp_find_in_user
        if find(addr, size, own, needle_size, offset):
            start = resume(
                lambda done: find(addr + done, size - done, own, needle_size, offset),
                size,
                overlap=max(needle_size - 1, 0),
            )
    found = start + (offset.value or 0)
    return found if found < size or not needle_size else None


@builtin
def probe_read(addr: int, size: int) -> int:
    """Return how many of the ``size`` bytes at ``addr`` can be read, counted from the start.

    Touches one byte a page.

    Raises:
        FaultError: Only with reason OUT_OF_RANGE.
    """
    return count_accessible(addr, size, _READ)


@builtin
def probe_write(addr: int, size: int) -> int:
    """Return how many of the ``size`` bytes at ``addr`` can be written, counted from the start.

    Exchanges one byte a page for itself, atomically: no content changes, but untouched pages of a mapping are brought
    in, and pages of a file count as written.

    Raises:
        FaultError: Only with reason OUT_OF_RANGE.
    """
    return count_accessible(addr, size, _WRITE)
