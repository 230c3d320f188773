# SPDX-License-Identifier: MIT
"""A view of a buffer that survives its memory: a mapped file that is truncated, a disk that is full or gone."""

from __future__ import annotations

import struct
from operator import index
from typing import Any, overload

from ._buffer import locate, view_of
from ._builtins import builtin
from ._overlap import write_buffer
from .addr import VirtAddr
from .uaccess import copy_from_user, copy_from_user_into, find_in_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer
    from typing_extensions import Self

__all__ = ["GuardedView"]


class GuardedView:
    """The bytes of a buffer, each access guarded.

    Works on mmap, numpy.memmap, SharedMemory's ``buf``, memoryview and any other C-contiguous buffer, whatever its
    items and dimensions, as flat bytes.  It keeps the object alive and its buffer exported until it is released; an
    mmap cannot be closed meanwhile.  A context manager.  Everything may be called from any thread.

    Args:
        obj: What to view.
        release_gil: Drop the GIL for every access, not only for those of 1 MiB and more: for a file that has to come
            from a disk or over a network.  A page that is not in memory holds up every thread of the process until it
            is (80 us from a fast local disk, and many milliseconds from others); one that is in memory is read in less
            time than a busy thread takes to give the GIL back.

    Raises:
        TypeError: ``obj`` has no buffer.
        BufferError: Its buffer is not C-contiguous.
        ValueError: ``obj`` is an mmap that was closed.
    """

    __slots__ = ("_address", "_release_gil", "_size", "_view")

    def __init__(self, obj: ReadableBuffer, *, release_gil: bool = False) -> None:
        self._view: memoryview | None = view_of(obj)
        self._release_gil = release_gil
        self._address, self._size = locate(self._view, writable=False)

    @property
    def address(self) -> VirtAddr:
        """Where its first byte is: what to subtract from a FaultError's address."""
        self._open()
        return VirtAddr(self._address)

    @property
    def readonly(self) -> bool:
        """Whether it refuses to be written to."""
        return self._open().readonly

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        self._open()
        return self._size

    def release(self) -> None:
        """Let the buffer go.  May be called again; everything else is ValueError afterwards.

        An access that is under way, in another thread say, ends as if nothing had happened, and keeps the buffer
        exported until then.
        """
        self._view = None  # who is in the middle of an access holds it, and nobody else does

    def find(self, needle: ReadableBuffer, start: int = 0, end: int | None = None) -> int:
        """Return the offset of the first occurrence of ``needle`` in [start, end), or -1.

        As ``bytes.find`` does, but the needle is always a buffer and the start always an int.

        Raises:
            FaultError: Memory ends there, and no occurrence was complete before.
            ValueError: It was released.
        """
        with self._hold(), view_of(needle) as sought:
            start = index(start)
            first, last, _ = slice(start, end).indices(self._size)
            if start > self._size or sought.nbytes > last - first:
                return -1
            found = find_in_user(self._address + first, last - first, sought, release_gil=self._release_gil)
            return -1 if found is None else first + found

    def read_into(self, buffer: WriteableBuffer, offset: int = 0) -> None:
        """Fill a writable buffer from an offset in bytes on.

        Raises:
            FaultError: Not all of it can be read: the first ``transferred`` bytes of the buffer were, the rest is zero.
            ValueError: The view ends before the buffer is full, or was released; nothing was touched.
            TypeError: ``buffer`` is not a writable buffer.
        """
        with self._hold(), view_of(buffer) as target:
            at = self._span(offset, target.nbytes)
            copy_from_user_into(at, target, release_gil=self._release_gil)

    def unpack_from(self, format: str | bytes | struct.Struct, offset: int = 0) -> tuple[Any, ...]:  # noqa: A002
        """Return the values that a struct format describes, from an offset in bytes on.

        Raises:
            FaultError: They cannot all be read.
            ValueError: The view ends before that, or was released; nothing was touched.
            struct.error: The format is none.
        """
        with self._hold():
            layout = format if isinstance(format, struct.Struct) else struct.Struct(format)
            at = self._span(offset, layout.size)
            return layout.unpack(copy_from_user(at, layout.size, release_gil=self._release_gil))

    def __len__(self) -> int:
        return self.nbytes

    def __iter__(self) -> Iterator[int]:
        return (self[position] for position in range(len(self)))

    def __bytes__(self) -> bytes:
        return self[:]

    def __contains__(self, needle: int | ReadableBuffer) -> bool:
        """Return whether a byte, or some bytes one after the other, occur."""
        return self.find(bytes([needle]) if isinstance(needle, int) else needle) >= 0

    @overload
    def __getitem__(self, position: int) -> int: ...
    @overload
    def __getitem__(self, position: slice) -> bytes: ...
    def __getitem__(self, position: int | slice) -> int | bytes:
        """Return a byte as an int, or some bytes.

        Raises:
            FaultError: Not all of it can be read.
            IndexError: There is no such byte.
            ValueError: It was released.
        """
        held = self._view
        if held is None:
            self._open()
        try:
            if self._release_gil:
                return read_item(self._address, self._size, position, release_gil=True)
            return read_item(self._address, self._size, position)
        finally:
            del held  # an exception keeps the frame, which is not to keep the buffer

    def __setitem__(self, position: int | slice, value: Any) -> None:
        """Set a byte, or as many bytes as a buffer has.

        Raises:
            FaultError: Not all of it can be written: the first ``transferred`` bytes were.
            TypeError: The buffer is read-only; nothing was touched.
            IndexError: There is no such byte.
            ValueError: A slice of another size or with a step, a value that is no byte, or it was released; nothing was
                touched.
        """
        with self._hold() as held:
            if held.readonly:
                raise TypeError("the buffer is read-only")
            if not isinstance(position, slice):
                at = self._address + _find_byte(self._size, position)
                write_buffer(at, memoryview(bytes([index(value)])), release_gil=self._release_gil)
                return
            start, stop, step = position.indices(self._size)
            with view_of(value) as source:
                if step != 1 or source.nbytes != max(0, stop - start):
                    raise ValueError(f"{source.nbytes} bytes cannot take the place of {position} of {self._size}")
                write_buffer(self._address + start, source, release_gil=self._release_gil)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a GuardedView can be neither copied nor pickled: it is what keeps its buffer exported")

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return "<GuardedView released>" if self._view is None else f"<GuardedView of {self._size} bytes>"

    def _open(self) -> memoryview:
        view = self._view  # once: another thread may release it in between
        if view is None:
            raise ValueError("the view was released")
        return view

    def _hold(self) -> memoryview:
        """Return a view that keeps the buffer exported until it is released, whatever runs meanwhile."""
        return memoryview(self._open())

    def _span(self, offset: int, size: int) -> int:
        offset = index(offset)
        if not 0 <= offset <= self._size - size:
            raise ValueError(f"{size} bytes at offset {offset} of {self._size}")
        return self._address + offset


@builtin
def read_item(start: int, size: int, position: int | slice, *, release_gil: bool = False) -> int | bytes:
    """Return a byte, or some bytes, of the ``size`` bytes at ``start``."""
    if not isinstance(position, slice):
        return copy_from_user(start + _find_byte(size, position), 1, release_gil=release_gil)[0]
    first, last, step = position.indices(size)
    low, high = (first, last) if step > 0 else (last + 1, first + 1)
    data = copy_from_user(start + low, max(0, high - low), release_gil=release_gil)
    return data if step == 1 else data[::step]


def _find_byte(size: int, position: int) -> int:
    at = index(position)
    at += size if at < 0 else 0
    if not 0 <= at < size:
        raise IndexError(f"byte {position} of {size}")
    return at
