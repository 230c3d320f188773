# SPDX-License-Identifier: MIT
"""Demand paging: a guarded access faults for real, a pager fills the page, and the access goes on."""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_right

from . import _paging
from ._areas import Area, AreaTable
from ._memory import NO_ACCESS, protect_memory
from ._pager import Busy, PagerBacking, PagingCounters
from .addr import PAGE_SIZE, VirtAddr, VirtAddrRange
from .errors import FaultError, FaultReason
from .flags import MappingFlags
from .handlers import access_user_memory

_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE


class DemandPaging:
    """The half of an address space that resolves faults.

    Its lock is not held while a pager or a write-back runs: the page is marked as busy, and whoever faults on it waits
    for that page alone.
    """

    def __init__(self, reserved: VirtAddrRange) -> None:
        self._range = reserved
        self._areas = AreaTable()
        self._lock = threading.RLock()
        self._paging = PagingCounters()

    @property
    def paging(self) -> PagingCounters:
        """What demand paging has done so far."""
        return self._paging

    def handle_page_fault(self, addr: int, flags: MappingFlags) -> bool:
        """Resolve a fault at an address, by asking its pager.  Guarded accesses do this by themselves.

        Returns:
            Whether the access may be tried again.

        Source: Starry-OS ``AddrSpace::handle_page_fault``.
        """
        return self._resolve(FaultError(addr, _WRITE if _WRITE in flags else _READ, FaultReason.NOT_PERMITTED)) is None

    def evict(self, start: int, size: int) -> int:
        """Take pages out again that a pager filled, as a swap would; the next access asks the pager again.

        Each page that was written to is handed to the area's ``write_back``, while nobody can access it.  If that
        raises, the page stays in, what was taken out before it stays out, and the exception comes out.

        Returns:
            How many pages were taken out.

        Raises:
            OSError: EINVAL (unaligned, or not in the space).
            ValueError: The space is closed.
        """
        self._check_place(start, size)
        evicted = 0
        for page in range(start, start + size, PAGE_SIZE):
            with self._lock:
                self._check_open()
                area = self._areas.find(page)
                backing = area.backing if area else None
                if area is None or not isinstance(backing, PagerBacking):
                    continue
                offset = area.offset + page - area.range.start
                if offset not in backing.resident or offset in backing.busy:
                    continue
                protect_memory(page, PAGE_SIZE, NO_ACCESS)
                backing.busy[offset] = busy = Busy()
                written = backing.resident[offset]
            evicted += self._take_out(page, offset, backing, busy, written)
        return evicted

    def _separate(self) -> None:
        """In the child of a fork: pages that pagers filled become the child's own, as all its other memory is."""
        self._lock = threading.RLock()  # whoever held it is not here
        copies: dict[PagerBacking, PagerBacking] = {}
        for area in list(self._areas):
            if isinstance(area.backing, PagerBacking):
                backing = copies.get(area.backing) or area.backing.copy()
                copies[area.backing] = backing
                moved = Area(area.range, area.flags, backing, area.offset)
                backing.attach(moved)
                self._areas.replace(area.range.start, area.range.end, [moved])

    def _check_open(self) -> None:
        raise NotImplementedError

    def _check_place(self, start: int | None, size: int) -> None:
        raise NotImplementedError

    def _resolve(self, error: FaultError) -> FaultError | None:
        """Resolve a fault; return None, or the error to raise for it."""
        page = error.address.align_down()
        while True:
            with self._lock:
                found = self._find_paged(page)
                if found is None or error.access not in found[0].flags:
                    return error
                area, backing, offset = found
                busy = backing.busy.get(offset)
                if busy is None and offset in backing.resident:
                    backing.resident[offset] |= error.access is _WRITE
                    backing.show(area, offset)
                    self._paging.resolved += 1
                    return None
                if busy is None:
                    backing.busy[offset] = busy = Busy()
                    break
            if busy.thread == threading.get_ident():
                return self._refuse(error, RuntimeError("a pager accesses the page that it is asked for"))
            busy.done.wait()
        try:
            content = self._ask(backing, page, error.access)
        except Exception as cause:
            self._finish(backing, offset, busy)
            return self._refuse(error, cause)
        except BaseException:
            self._finish(backing, offset, busy)
            raise
        with self._lock:
            found = self._find_paged(page)
            try:
                if content is None or found is None or found[1:] != (backing, offset):
                    return self._refuse(error, None)
                backing.fill(offset, content)
                backing.resident[offset] = error.access is _WRITE
                backing.show(found[0], offset)
            except OSError as cause:
                return self._refuse(error, cause)
            finally:
                self._finish(backing, offset, busy)
            self._paging.pages_in += 1
            self._paging.resolved += 1
        return None

    def _find_paged(self, page: int) -> tuple[Area, PagerBacking, int] | None:
        area = self._areas.find(page)
        if area is None or not isinstance(area.backing, PagerBacking):
            return None
        return area, area.backing, area.offset + page - area.range.start

    @staticmethod
    def _ask(backing: PagerBacking, page: VirtAddr, access: MappingFlags) -> bytes | None:
        content = access_user_memory(backing.pager, page, access)
        if content is None:
            return None
        if not isinstance(content, bytes):
            raise TypeError(f"a pager returns bytes or None, not {type(content).__name__}")
        if len(content) != PAGE_SIZE:
            raise ValueError(f"a pager returned {len(content)} bytes for a page of {PAGE_SIZE}")
        return content

    def _refuse(self, error: FaultError, cause: BaseException | None) -> FaultError:
        self._paging.refused += 1
        refused = FaultError(
            error.address,
            error.access,
            FaultReason.REFUSED,
            transferred=error.transferred,
            size=error.size,
            signal=error.signal,
        )
        refused.__cause__ = cause
        return refused

    def _finish(self, backing: PagerBacking, offset: int, busy: Busy) -> None:
        with self._lock:
            del backing.busy[offset]
        busy.done.set()

    def _take_out(self, page: int, offset: int, backing: PagerBacking, busy: Busy, written: bool) -> int:
        try:
            if written and backing.write_back is not None:
                access_user_memory(backing.write_back, VirtAddr(page), backing.content(offset))
            with self._lock:
                backing.drop(offset, PAGE_SIZE)
                self._paging.pages_out += 1
            return 1
        except BaseException:
            with self._lock:
                found = self._find_paged(page)
                if found is not None and found[1:] == (backing, offset):
                    backing.show(found[0], offset)
            raise
        finally:
            self._finish(backing, offset, busy)


# The spaces that have pagers, by base: whom to ask after a fault anywhere.
_paged: list[tuple[int, weakref.ref[DemandPaging]]] = []
_paged_lock = threading.Lock()


def register(space: DemandPaging) -> None:
    global _paged
    with _paged_lock:
        living = [(base, reference) for base, reference in _paged if reference() is not None]
        if all(reference() is not space for _, reference in living):
            living.append((space._range.start, weakref.ref(space)))
        _paged = sorted(living, key=lambda entry: entry[0])
        _paging.paged = _paged[0][0], max(_paging.paged[1], int(space._range.end))
    _paging.resolver = _resolve_anywhere


def _resolve_anywhere(error: FaultError) -> FaultError | None:
    spaces = _paged
    at = bisect_right([base for base, _ in spaces], error.address) - 1
    space = spaces[at][1]() if at >= 0 else None
    if space is None or error.address not in space._range:
        return error
    return space._resolve(error)


def _separate_all() -> None:
    for _, reference in _paged:
        space = reference()
        if space is not None:
            space._separate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_separate_all)
