# SPDX-License-Identifier: MIT
"""Many scattered addresses in one call, where a bad address spoils only its own entry.

Where ``uaccess`` raises FaultError, these functions say of each entry whether it went well.

Addresses are a one-dimensional buffer of 8-byte integers (``array('Q')``, a numpy array of uint64 or int64, a ctypes
array of ``c_void_p``), which is read in place unless it has strides, or an iterable of ints (or of what has
``__index__``).  An address that is negative or too large, or from which the size leads out of the address space, is
bad, and nothing is touched for it.  Size 0 at any address of the address space is good and touches nothing.

Entries are handled in order and not at once: other threads may change memory, or take it away, in between.  A page
that has faulted is not tried again within the call, unless the pager of an AddrSpace fills it.

Everything may be called from any thread, and nobody may change the buffers meanwhile.  A call keeps the GIL below 4096
addresses and 1 MiB, until there have been 16 faults: for some 100 us at most.
"""

from __future__ import annotations

import sys
from array import array
from contextlib import suppress
from ctypes import CDLL, c_uint64, c_void_p, memmove, memset, string_at
from operator import index
from typing import Any, overload

from . import _paging
from ._buffer import locate, new_bytes, view_of
from ._native import ADDRESS_MAX, BatchLimits, fault_error, go_on, lib, lib_dropping_gil
from .errors import FaultError, TooLongError
from .uaccess import copy_from_user, copy_to_user, probe_read, strncpy_from_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import SupportsIndex, TypeVar

    from _typeshed import ReadableBuffer, WriteableBuffer

    _Addresses = ReadableBuffer | Iterable[SupportsIndex]
    _Out = TypeVar("_Out", bound=WriteableBuffer)

__all__ = ["gather_from_user", "probe_many", "read_strings", "scatter_to_user"]

# 4096 words take 4 us where they are cached and 60 us where none is; 1 MiB takes 20 us and a fault 2 us.
_DROP_GIL_COUNT, _DROP_GIL_BYTES, _DROP_GIL_FAULTS = 4096, 1 << 20, 16

_WORD = 8
_NO_ADDRESS = 2**64 - 1

_HIGHEST = dict.fromkeys("QLNP", ADDRESS_MAX) | dict.fromkeys("qln", min(ADDRESS_MAX, 2**63 - 1))
"""The highest address, for each format of 8-byte integers."""
_NATIVE_ORDERS = ("", "@", "=", {"little": "<", "big": ">"}[sys.byteorder])

# Bytes for the strings of one call: so many an address, but not less or more than that.
_ROOM_EACH, _LEAST_ROOM, _MOST_ROOM = 32, 1 << 14, 1 << 20


@overload
def gather_from_user(addresses: _Addresses, size: int, *, out: None = None) -> tuple[bytes, bytes]: ...
@overload
def gather_from_user(addresses: _Addresses, size: int, *, out: _Out) -> tuple[_Out, bytes]: ...
def gather_from_user(addresses: _Addresses, size: int, *, out: Any = None) -> tuple[Any, bytes]:
    """Read ``size`` bytes at each address.

    Args:
        addresses: Where to read.
        size: How many bytes at each.  1, 2, 4 or 8 bytes at a multiple of that are read in one access.
        out: A contiguous writable buffer to be filled, of exactly as many bytes as there will be.  It may be
            ``addresses``.  It is our own memory: if the buffer itself is bad, the process crashes.

    Returns:
        The data, as bytes or as ``out`` itself, and ok.  Entry i is at ``[i * size : (i + 1) * size]``, and all zeros
        if it is bad, also where it could be read.  ok is bytes, 1 for each good entry and 0 for each bad one.

    Raises:
        TypeError: ``addresses`` is not what it should be, or ``out`` is not a writable buffer.  This and what follows
            is raised before anything is touched.
        BufferError: ``out`` is not contiguous.
        ValueError: ``size`` is negative, or ``out`` has another size.
        MemoryError: This process has no room for the data.
    """
    size = _check_size(size)
    words, highest = _words(addresses)
    with words:
        total = len(words) * size
        if out is None:
            data, own = _new_bytes(total)
            ok = _gather(words, highest, size, own)
            return bytes(data), ok
        with view_of(out) as target:
            own, room = locate(target, writable=True)
            if room != total:
                raise ValueError(f"out must have {len(words)} x {size} bytes, not {room}")
            return out, _gather(words, highest, size, own)


def _gather(words: memoryview, highest: int, size: int, own: int) -> bytes:
    at, words_size = locate(words, writable=False)
    if own < at + words_size and at < own + len(words) * size:
        # An address must not be overwritten before it is read, and read again after a fault.
        with memoryview(words.tobytes()).cast("Q") as copy:
            return _gather(copy, highest, size, own)

    def step(library: CDLL, done: int, *arguments: Any) -> int:
        return int(library.axp_gather_from_user(own + done * size, *arguments))

    def again(entry: int, addr: int) -> bool:
        memmove(own + entry * size, copy_from_user(addr, size), size)
        return True

    return _each(words, highest, size, step, again)


def scatter_to_user(addresses: _Addresses, data: ReadableBuffer) -> bytes:
    """Write a part of ``data`` at each address.

    Entries are written in order: where some overlap, the last of them is what is there afterwards.

    Args:
        addresses: Where to write.
        data: Any contiguous buffer, of as many equal parts as there are addresses: entry i is the i-th.  1, 2, 4 or 8
            bytes at a multiple of that are written in one access.  It is our own memory: if the buffer itself is bad,
            the process crashes.

    Returns:
        ok: bytes, 1 for each good entry and 0 for each bad one.  Of a bad entry, what lies before the first page that
        cannot be written was written, and nothing from there on was changed.

    Raises:
        TypeError: ``addresses`` is not what it should be, or ``data`` is not a buffer.  This and what follows is raised
            before anything is touched.
        BufferError: ``data`` is not contiguous.
        ValueError: ``data`` does not have as many equal parts.
    """
    words, highest = _words(addresses)
    with words, view_of(data) as source:
        own, total = locate(source, writable=False)
        count = len(words)
        size = total // count if count else 0
        if size * count != total:
            raise ValueError(f"{total} bytes cannot be divided among {count} addresses")

        def step(library: CDLL, done: int, at: int, *arguments: Any) -> int:
            return int(library.axp_scatter_to_user(at, own + done * size, *arguments))

        def again(entry: int, addr: int) -> bool:
            copy_to_user(addr, string_at(own + entry * size, size))
            return True

        return _each(words, highest, size, step, again)


def probe_many(addresses: _Addresses, size: int) -> bytes:
    """Return for each address whether the ``size`` bytes there can be read: bytes, 1 or 0 for each.

    Touches one byte a page.

    Raises:
        TypeError: ``addresses`` is not what it should be.
        ValueError: ``size`` is negative.
    """
    size = _check_size(size)
    words, highest = _words(addresses)
    with words:
        if size > ADDRESS_MAX:
            return bytes(len(words))

        def step(library: CDLL, _: int, *arguments: Any) -> int:
            return int(library.axp_probe_many(*arguments))

        return _each(words, highest, size, step, lambda _, addr: probe_read(addr, size) == size)


def read_strings(addresses: _Addresses, limit: int) -> list[bytes | None]:
    """Return the string at each address, without its zero byte.

    No page after the one that holds the zero byte is touched.

    Args:
        addresses: Where the strings start.
        limit: The most bytes to look at for each, the zero byte included.  0 gives empty strings.

    Returns:
        For each address bytes, or None where memory ends before the string does, or where there is no zero byte
        within ``limit`` bytes.

    Raises:
        TypeError: ``addresses`` is not what it should be.
        ValueError: ``limit`` is negative.
    """
    limit = _check_size(limit)
    words, highest = _words(addresses)
    with words:
        at, _ = locate(words, writable=False)
        count = len(words)
        if limit > ADDRESS_MAX:
            return [None] * count
        room = min(count * limit, max(_LEAST_ROOM, min(count * _ROOM_EACH, _MOST_ROOM)))
        texts, texts_at = new_bytes(room)
        lengths = array("q", bytes(count * _WORD))
        lengths_at, _ = lengths.buffer_info()
        reached = c_void_p()
        strings: list[bytes | None] = []
        for library, done, limits in _turns(count, limit, highest, reached):
            offset = done * _WORD
            injected = library.axp_read_strings(
                texts_at, room, at + offset, count - done, limit, limits, lengths_at + offset, reached
            )
            start = 0
            for length in lengths[done : done + (reached.value or 0)]:
                end = start + max(length, 0)
                strings.append(None if length < 0 else bytes(texts[start:end]))
                start = end
            if injected:
                fault_error()
            elif reached.value is None:  # not even one: it is longer than the room
                reached.value = 1
                strings.append(_read_string(_address(at, done), highest, limit))
            elif _paging.resolver is not None and strings[-1] is None:
                strings[-1] = _read_string(_address(at, len(strings) - 1), highest, limit)
    return strings


def _read_string(addr: int, highest: int, limit: int) -> bytes | None:
    with suppress(FaultError, TooLongError):
        return go_on(strncpy_from_user, addr, limit) if addr <= highest else None
    return None


def _each(
    words: memoryview,
    highest: int,
    size: int,
    step: Callable[..., int],
    again: Callable[[int, int], bool],
) -> bytes:
    """Handle every entry and return ok.

    Args:
        words: The addresses.
        highest: The highest that is one.
        size: Of an entry.
        step: Calls a library's function, for the entries from a number on; returns its status.
        again: Handles one entry, by its number and its address, so that a pager can resolve its fault.
    """
    at, _ = locate(words, writable=False)
    count = len(words)
    ok, ok_at = new_bytes(count)
    reached = c_void_p()
    for library, done, limits in _turns(count, size, highest, reached):
        if step(library, done, at + done * _WORD, count - done, size, limits, ok_at + done, reached) != 0:
            fault_error()  # an injected one, and nobody resolves it
            continue
        last = done + (reached.value or 0) - 1
        if _paging.resolver is not None and not ok[last] and (addr := _address(at, last)) <= highest:
            with suppress(FaultError):
                memset(ok_at + last, go_on(again, last, addr), 1)
    return bytes(ok)


def _turns(count: int, size: int, highest: int, reached: c_void_p) -> Iterator[tuple[CDLL, int, BatchLimits]]:
    """Give a library, how many entries are done, and its limits, until all are done.

    After a fault where pagers are, their turn comes, before later entries are written.

    Args:
        count: How many entries there are.
        size: Of an entry.
        highest: The highest address.
        reached: Is to hold how many more are done, each time.
    """
    drop_gil = count >= _DROP_GIL_COUNT or count * size >= _DROP_GIL_BYTES
    limits = BatchLimits(highest, count if drop_gil else _DROP_GIL_FAULTS, *_paging.paged)
    done = 0
    while done < count:
        yield lib_dropping_gil if drop_gil else lib, done, limits
        done += reached.value or 0
        if _paging.resolver is None:
            drop_gil, limits.faults = True, count


def _words(addresses: _Addresses) -> tuple[memoryview, int]:
    """Return the addresses as contiguous words, and the highest word that is one.

    Raises:
        TypeError: They are not integers of 8 bytes, or no integers at all.
    """
    try:
        view = memoryview(addresses)  # type: ignore[arg-type]
    except TypeError:
        return _pack(addresses)  # type: ignore[arg-type]
    order, kind = view.format[:-1], view.format[-1:]
    if view.ndim != 1 or view.itemsize != _WORD or kind not in _HIGHEST or order not in _NATIVE_ORDERS:
        with view:
            raise TypeError(
                "addresses must be one-dimensional 8-byte integers in the machine's byte order, like array('Q'), "
                f"not {view.ndim}-dimensional {view.itemsize}-byte items of format {view.format!r}"
            )
    if view.c_contiguous:
        return view, _HIGHEST[kind]
    with view:
        return memoryview(view.tobytes()).cast("Q"), _HIGHEST[kind]


def _pack(addresses: Iterable[SupportsIndex]) -> tuple[memoryview, int]:
    numbers = addresses if isinstance(addresses, (list, tuple)) else list(addresses)
    try:
        return memoryview(array("Q", numbers)), ADDRESS_MAX
    except OverflowError:
        # The last byte of the address space stands for no address.  It is never mapped, nor is the one before it.
        highest = min(ADDRESS_MAX, _NO_ADDRESS - 1)
        words = (min(number, highest) if 0 <= number <= ADDRESS_MAX else _NO_ADDRESS for number in map(index, numbers))
        return memoryview(array("Q", words)), highest


def _address(at: int, entry: int) -> int:
    return c_uint64.from_address(at + entry * _WORD).value


def _check_size(size: int) -> int:
    size = index(size)
    if size < 0:
        raise ValueError(f"a number of bytes must not be negative: {size}")
    return size


def _new_bytes(size: int) -> tuple[bytes | bytearray, int]:
    try:
        return new_bytes(size)
    except OverflowError:
        raise MemoryError(f"no room for {size} bytes") from None
