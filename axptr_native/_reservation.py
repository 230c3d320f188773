# SPDX-License-Identifier: MIT
"""A range of addresses that is taken, so that nothing else can move in, and the areas that are mapped in it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import sys
import threading
from collections import deque
from itertools import starmap
from operator import index

from . import _spaces
from ._areas import AreaTable
from ._buffer import IS_CPYTHON
from ._memory import reserve_memory
from ._native import ADDRESS_MAX, install, lib
from .addr import PAGE_SIZE, VirtAddr, VirtAddrRange
from .space import space_error

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._areas import Area


class _Addresses(int):
    """The base and the size of a reservation, which goes with the last reference to this.

    Not known to the garbage collector: of a cycle it runs all weak references' callbacks and all finalizers before
    anything goes, and the finalizers of others in it may still use the space, or keep it.
    """

    __slots__ = ()

    def __new__(cls, base: int, size: int) -> _Addresses:
        made = super().__new__(cls, base * (ADDRESS_MAX + 1) + size)
        if IS_CPYTHON:
            ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(made))
        return made

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # threads that have ended where they stood may still be copying
            _let_go_of.append(divmod(self, ADDRESS_MAX + 1))
            _release()


class _Thread(threading.local):
    is_releasing = False


_thread = _Thread()
_let_go_of: deque[tuple[int, int]] = deque()
"""The bases and sizes of what nobody refers to any more."""


def _release() -> None:
    """Give the addresses back that nobody refers to any more, those that cannot be now with the next ones.

    The system joins reservations, and to cut one out of the middle takes a mapping more.

    Without the GIL, whenever a function begins an interpreter lets go of what other threads have left to it.  So
    finalizers interrupt one another, to any depth, until none has stack left; here only the outermost takes some.
    """
    refused: list[tuple[int, int]] = []
    try:
        while _let_go_of and not _thread.is_releasing:
            with contextlib.suppress(IndexError):  # another thread was faster
                _release_next(refused)
    finally:
        _let_go_of.extend(refused)


def _release_next(refused: list[tuple[int, int]]) -> None:
    # Whatever is raised, by a signal handler or for want of stack: one call of C takes and notes what it took, and
    # another releases it and notes that.
    taken: list[tuple[int, int]] = []
    status: list[int] = []
    try:
        _thread.is_releasing = True
        taken.extend(map(deque.popleft, (_let_go_of,)))
        _spaces.remove(taken[0][0])
        status.extend(starmap(lib.axp_unmap, taken))
    finally:
        _thread.is_releasing = False
        if not status or status[0]:
            refused.extend(taken)


class Reservation:
    """What an address space is before anything is mapped."""

    def __init__(self, size: int) -> None:
        size = index(size)
        if size <= 0 or size % PAGE_SIZE or size > ADDRESS_MAX:
            raise space_error(errno.EINVAL, f"an address space of {size} bytes: not a positive multiple of {PAGE_SIZE}")
        base = reserve_memory(size)
        # They stay taken as long as anybody holds the space: what still points into it must go on faulting.
        self._addresses = _Addresses(base, size)
        self._range = VirtAddrRange.from_start_size(base, size)
        self._areas = AreaTable()
        self._lock = threading.RLock()
        self._closed = False
        self._put_off: list[tuple[int, int]] = []
        install()

    @property
    def base(self) -> VirtAddr:
        """The first address."""
        return self._range.start

    @property
    def end(self) -> VirtAddr:
        """The first address after the space."""
        return self._range.end

    @property
    def size(self) -> int:
        """Bytes from ``base`` to ``end``."""
        return self._range.size

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def contains_range(self, start: int, size: int) -> bool:
        """Return whether all ``size`` bytes from ``start`` on lie in the space, mapped or not."""
        start, size = index(start), index(size)
        return self.base <= start and 0 <= size <= self.end - start

    def areas(self) -> tuple[Area, ...]:
        """Return the areas, in the order of their addresses."""
        with self._lock_to_read():
            return tuple(self._areas)

    def find_free_area(
        self, hint: int, size: int, limit: VirtAddrRange | None = None, align: int = PAGE_SIZE
    ) -> VirtAddr | None:
        """Return an address from which ``size`` bytes are free, or None.

        Args:
            hint: Where to begin; what lies below is looked at last.
            size: Bytes that are needed.
            limit: Where they have to lie; None: anywhere in the space.
            align: What the address is a multiple of, in bytes: a power of two, at least PAGE_SIZE.

        Raises:
            OSError: EINVAL for a size or an alignment that is not in pages.
            TypeError: ``limit`` is no VirtAddrRange.

        Source: Starry-OS ``AddrSpace::find_free_area``.
        """
        hint, size, align = index(hint), index(size), index(align)
        if limit is not None and not isinstance(limit, VirtAddrRange):
            raise TypeError(f"a VirtAddrRange is required as the limit, not {limit!r}")
        if size <= 0 or size % PAGE_SIZE or align < PAGE_SIZE or align & (align - 1):
            raise space_error(errno.EINVAL, f"{size} bytes aligned to {align}: neither is in whole pages")
        low = max(self.base, limit.start if limit else 0)
        high = min(self.end, limit.end if limit else ADDRESS_MAX)
        with self._lock_to_read():
            self._check_open()
            found = self._areas.free(max(low, hint), high, size, align)
            return self._areas.free(low, high, size, align) if found is None else found

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("an address space can be neither copied nor pickled: it is what holds its addresses")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base}-{self.end}{' closed' * self._closed}>"

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the address space is closed")

    def _lock_to_read(self) -> threading.RLock:
        """Return the lock."""
        if sys.is_finalizing() and not self._is_interrupted():
            # The other threads have ended where they stood: with the lock, or about to take it.
            self._lock = threading.RLock()
        return self._lock

    def _lock_to_change(self) -> threading.RLock:
        """Return the lock, unless this thread has it.

        A finalizer can run in the middle of an operation, when the garbage collector does, and so can a signal handler.
        """
        if self._is_interrupted():
            raise RuntimeError("an operation of the address space was interrupted for this one, by its own thread")
        return self._lock_to_read()

    def _is_interrupted(self) -> bool:
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        return owned

    def _check_place(self, start: int, size: int) -> tuple[int, int]:
        """Return both as plain ints, which they may only stand for, if they are whole pages of the space."""
        start, size = int(index(start)), int(index(size))
        if size <= 0 or start % PAGE_SIZE or size % PAGE_SIZE or not self.contains_range(start, size):
            raise space_error(errno.EINVAL, f"{size} bytes at {start:#x}: not whole pages of {self!r}")
        return start, size
