# SPDX-License-Identifier: MIT
"""Demand paging: a guarded access faults for real, a pager fills the page, and the access goes on."""

from __future__ import annotations

import contextlib
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
        raises, or the system cannot hide the page, it stays in, what was taken out before it stays out, and the
        exception comes out.

        Returns:
            How many pages were taken out.

        Raises:
            OSError: EINVAL (unaligned, or not in the space); ENOMEM (the system has no more mappings).
            ValueError: The space is closed.
        """
        self._check_place(start, size)
        return sum(self._take_out(page) for page in range(start, start + size, PAGE_SIZE))

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
        try:
            return self._bring_in(error)
        except OSError as cause:
            return self._refuse(error, cause)

    def _bring_in(self, error: FaultError) -> FaultError | None:
        """Bring in the page of a fault, and show it; return None, or the error to raise.

        Raises:
            OSError: The system does not show the page, which stays in.
        """
        page, write = error.address.align_down(), error.access is _WRITE
        mine = Busy()
        backing, offset = None, 0
        try:
            while True:
                with self._lock:
                    found = self._find_paged(page)
                    if found is None or error.access not in found[0].flags:
                        return error
                    area, backing, offset = found
                    busy = backing.busy.get(offset)
                    if busy is None and offset in backing.resident:
                        backing.show(area, offset, written=write or backing.resident[offset])
                        self._paging.resolved += 1
                        return None
                    if busy is None:
                        backing.busy[offset] = mine
                        break
                if busy.thread == mine.thread:
                    return self._refuse(error, RuntimeError("a pager accesses the page that it is asked for"))
                busy.done.wait()
            try:
                content = self._ask(backing, page, error.access)
            except Exception as cause:
                return self._refuse(error, cause)
            with self._lock:
                found = self._find_paged(page)
                if content is None or found is None or found[1:] != (backing, offset):
                    return self._refuse(error, None)
                backing.fill(offset, content)
                self._paging.pages_in += 1
                backing.show(found[0], offset, written=write)
                self._paging.resolved += 1
            return None
        finally:
            self._finish(backing, offset, mine)

    def _take_out(self, page: int) -> int:
        """Evict a page; return how many that were."""
        mine = Busy()
        backing, offset = None, 0
        try:
            with self._lock:
                self._check_open()
                found = self._find_paged(page)
                if found is None or found[2] not in found[1].resident or found[2] in found[1].busy:
                    return 0
                _, backing, offset = found
                protect_memory(page, PAGE_SIZE, NO_ACCESS)
                backing.busy[offset] = mine
                # Now: once its area has gone, so has its content.
                content = backing.content(offset) if backing.resident[offset] and backing.write_back else None
            if backing.write_back is not None and content is not None:
                access_user_memory(backing.write_back, VirtAddr(page), content)
            with self._lock:
                backing.drop(offset, PAGE_SIZE)
                self._paging.pages_out += 1
            return 1
        except BaseException:
            with self._lock, contextlib.suppress(OSError):
                found = self._find_paged(page)
                if found is not None and found[1:] == (backing, offset) and offset in found[1].resident:
                    found[1].show(found[0], offset, written=found[1].resident[offset])
            raise
        finally:
            self._finish(backing, offset, mine)

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
        with self._lock:
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

    def _finish(self, backing: PagerBacking | None, offset: int, busy: Busy) -> None:
        with self._lock:
            if backing is not None and backing.busy.get(offset) is busy:
                del backing.busy[offset]
        busy.done.set()


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
