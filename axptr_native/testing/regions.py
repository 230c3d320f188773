# SPDX-License-Identifier: MIT
"""Memory that really faults: context managers that lay data out at an edge which the processor enforces.

Each gives a Region for the time of its block.  What is wrong with its arguments is raised when it is called, before
anything is mapped; that the system has no more memory or mappings, OSError, when the block is entered.  The memory is
given back when the block ends, however it does, and what is done with a region afterwards faults too.  Everything may
be called from any thread.

The pages before the data's and those beyond the edge allow no access, unless something else is said; what is accessible
besides the data, up to the borders of its pages, is zero.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import AbstractContextManager, contextmanager
from operator import index
from typing import TYPE_CHECKING

from .._buffer import locate, view_of
from .._memory import NO_ACCESS, READ_WRITE, protect_memory
from .._native import ADDRESS_MAX
from .._regions import Ending, ending_memory, never_canonical
from ..addr import PAGE_SIZE, VirtAddr
from ..errors import FaultReason
from ..flags import MappingFlags
from ..guarded_view import GuardedView

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from _typeshed import ReadableBuffer

    from .._regions import Region as _Memory

__all__ = [
    "Region",
    "guard_page_after",
    "guard_page_before",
    "hole",
    "no_access",
    "non_canonical",
    "read_only",
    "straddling",
    "truncated_file",
]

FENCE = 16 * PAGE_SIZE
"""Bytes that are bad on each side."""


class Region:
    """Data at the edge of what may be accessed.  Immutable.

    Passed to a foreign function of ctypes it is a pointer to its data, as an array of ``c_char`` is.  It can be neither
    copied nor pickled: the memory goes with the block that it was given to.
    """

    __slots__ = ("_address", "_edge", "_reason", "_size")

    def __init__(self, address: int, size: int, edge: int, reason: FaultReason) -> None:
        self._address = VirtAddr(address)
        self._size = size
        self._edge = VirtAddr(edge)
        self._reason = reason

    @property
    def address(self) -> VirtAddr:
        """Where the data starts."""
        return self._address

    @property
    def size(self) -> int:
        """Bytes of the data that are good, from ``address`` on."""
        return self._size

    @property
    def edge(self) -> VirtAddr:
        """The first bad address."""
        return self._edge

    @property
    def reason(self) -> FaultReason:
        """Why an access at the edge faults."""
        return self._reason

    def view(self) -> GuardedView:
        """Return a view of the good bytes.

        Once the block has ended, every access through it is FaultError.
        """
        return GuardedView(self._as_parameter_)

    @property
    def _as_parameter_(self) -> ctypes.Array[ctypes.c_char]:
        # Of all that could be passed, this is what most argtypes take, and what none cuts to an int.
        return (ctypes.c_char * self._size).from_address(self._address)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Region can be neither copied nor pickled: its memory is there for the time of a block only")

    def __repr__(self) -> str:
        size = "1 byte" if self._size == 1 else f"{self._size} bytes"
        return f"<Region of {size} at {self._address}, edge {self._edge}: {self._reason}>"


def guard_page_after(data: ReadableBuffer, align: int = 1) -> AbstractContextManager[Region]:
    """Data that ends at the edge: one byte further, and it is NOT_PERMITTED.

    Args:
        data: Any contiguous buffer, which is copied.
        align: Of what the data's address is to be a multiple: a power of two, at most a page.  The data then ends less
            than ``align`` bytes before the edge, and what lies between is zero.

    Raises:
        TypeError: ``data`` is not a buffer, or ``align`` not an integer.
        BufferError: ``data`` is not contiguous.
        ValueError: ``align`` is no such number.
    """
    content, align = bytes_of(data), index(align)
    padding = VirtAddr(-len(content)).align_offset(align)
    if align > PAGE_SIZE:
        raise ValueError(f"alignment must be at most a page, {PAGE_SIZE} bytes, not {align}")
    return _ended(content, padding=padding)


def guard_page_before(data: ReadableBuffer) -> AbstractContextManager[Region]:
    """Data that starts right behind the edge: one byte before it is NOT_PERMITTED.

    Args:
        data: Any contiguous buffer, which is copied.  What follows it is zero, up to the end of the page, and bad from
            there on.

    Raises:
        TypeError: ``data`` is not a buffer.
        BufferError: ``data`` is not contiguous.
    """
    return _started(bytes_of(data))


def read_only(data: ReadableBuffer) -> AbstractContextManager[Region]:
    """Data that can be read: the edge, for writing, is its first byte, and NOT_PERMITTED.

    Args:
        data: Any contiguous buffer, which is copied.  It ends where nothing can be read either.

    Raises:
        TypeError: ``data`` is not a buffer.
        BufferError: ``data`` is not contiguous.
    """
    return _read_only(bytes_of(data))


def no_access(size: int) -> AbstractContextManager[Region]:
    """Memory that is there and allows nothing: the edge is its first byte, and no byte is good.

    Args:
        size: Bytes that are to be NOT_PERMITTED.

    Raises:
        TypeError: ``size`` is not an integer.
        ValueError: It is negative, or more than half of the address space.
    """
    size = index(size)
    if not 0 <= size <= ADDRESS_MAX // 2:
        raise ValueError(f"a size must be from 0 to {ADDRESS_MAX // 2}, not {size}")
    return _straddling(b"", 0, size)


def truncated_file(data: ReadableBuffer) -> AbstractContextManager[Region]:
    """Data in a mapping of a file that ends with it: one byte further, the mapping goes on and the file is BEYOND_END.

    It is what a mapped file becomes that somebody truncates.  The file has no name, and is gone with the block.

    Args:
        data: Any contiguous buffer, which is copied.

    Raises:
        TypeError: ``data`` is not a buffer.
        BufferError: ``data`` is not contiguous.
        OSError: ENOTSUP on Windows, where no mapping is longer than its file.
    """
    return _ended(bytes_of(data), Ending.END_OF_FILE)


def hole() -> AbstractContextManager[Region]:
    """The start of a page where nothing is mapped: NOT_MAPPED.  The size is 0."""
    return _ended(b"", Ending.HOLE)


@contextmanager
def non_canonical() -> Iterator[Region]:
    """An address that the processor cannot form: NOT_CANONICAL.  The size is 0.

    Raises:
        OSError: ENOTSUP, on a processor that has none.
    """
    address = never_canonical()
    if address is None:
        raise OSError(errno.ENOTSUP, f"{os.strerror(errno.ENOTSUP)}: the processor has no such address")
    yield Region(address, 0, address, FaultReason.NOT_CANONICAL)


def straddling(data: ReadableBuffer, at: int) -> AbstractContextManager[Region]:
    """Data that lies on both sides of the edge: some bytes are good, and all from there on NOT_PERMITTED.

    Args:
        data: Any contiguous buffer, which is copied, its bad bytes too.
        at: How many of its bytes are good, from 0 to all of them.

    Raises:
        TypeError: ``data`` is not a buffer, or ``at`` not an integer.
        BufferError: ``data`` is not contiguous.
        ValueError: ``data`` has no so many bytes.
    """
    content, at = bytes_of(data), index(at)
    if not 0 <= at <= len(content):
        raise ValueError(f"the edge must lie from 0 to {len(content)}, not at {at}")
    return _straddling(content, at, len(content) - at)


def bytes_of(data: ReadableBuffer) -> bytes:
    """Return a buffer's bytes.

    Raises:
        TypeError: It is not a buffer.
        BufferError: It is not contiguous.
    """
    with view_of(data) as view:
        locate(view, writable=False)
        return data if type(data) is bytes else bytes(view)


def fenced_memory(ending: Ending, good: int, bad: int = 0) -> AbstractContextManager[_Memory]:
    """Give room for so many bytes that are good and so many bad ones, with a fence on both sides."""
    return ending_memory(ending, good=_whole_pages(good), bad=_whole_pages(bad) + FENCE, before=FENCE)


def _whole_pages(size: int) -> int:
    return size + -size % PAGE_SIZE


@contextmanager
def _ended(content: bytes, ending: Ending = Ending.PROTECTION, *, padding: int = 0) -> Iterator[Region]:
    size = len(content)
    with fenced_memory(ending, size + padding) as memory:
        address = memory.edge - padding - size
        ctypes.memmove(address, content, size)
        yield Region(address, size, memory.edge, ending.value)


@contextmanager
def _started(content: bytes) -> Iterator[Region]:
    with fenced_memory(Ending.PROTECTION, len(content)) as memory:
        ctypes.memmove(memory.start, content, len(content))
        yield Region(memory.start, len(content), memory.start - 1, FaultReason.NOT_PERMITTED)


@contextmanager
def _read_only(content: bytes) -> Iterator[Region]:
    with _ended(content) as region:
        if content:
            start = region.address.align_down()
            protect_memory(start, region.edge - start, MappingFlags.READ)
        yield Region(region.address, region.size, region.address, region.reason)


@contextmanager
def _straddling(content: bytes, good: int, bad: int) -> Iterator[Region]:
    with fenced_memory(Ending.PROTECTION, good, bad) as memory:
        address = memory.edge - good
        if content:
            protect_memory(memory.edge, _whole_pages(bad), READ_WRITE)
            ctypes.memmove(address, content, len(content))
            protect_memory(memory.edge, _whole_pages(bad), NO_ACCESS)
        yield Region(address, good, memory.edge, FaultReason.NOT_PERMITTED)
