# SPDX-License-Identifier: MIT
"""Demand paging: a guarded access faults for real, a pager fills the page, and the access goes on."""

from __future__ import annotations

import contextlib
import sys
import threading
from operator import index

from . import _paging, _spaces
from ._builtins import expect_paging
from ._memory import NO_ACCESS, protect_memory
from ._native import interrupt
from ._pager import Busy, PagerBacking, PagingCounters
from ._reservation import Reservation
from .addr import PAGE_SIZE, VirtAddr
from .errors import FaultError, FaultReason
from .flags import MappingFlags
from .handlers import access_user_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._areas import Area

_telling = threading.RLock()
_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE


class DemandPaging(Reservation):
    """The half of an address space that resolves faults.

    Its lock is not held while a pager or a write-back runs: the page is marked as busy, and whoever faults on it waits
    for that page alone.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._paging = PagingCounters()
        _spaces.add(self._range.start, self)

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
        access = _WRITE if _WRITE in flags else _READ
        return self._resolve(FaultError(index(addr), access, FaultReason.NOT_PERMITTED)) is None

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
        start, size = self._check_place(start, size)
        return sum(self._take_out(page) for page in range(start, start + size, PAGE_SIZE))

    def _expect_faults(self) -> None:
        """Have guarded accesses that fault ask the spaces, from now on.

        One thread at a time, or what one has told would be overwritten by another that had looked before.  A finalizer
        may do so in the middle: whoever tells the addresses last looks again.
        """
        _spaces.note_paged(self.base, self.end)
        _paging.resolver = _resolve_anywhere
        told = None
        with contextlib.nullcontext() if sys.is_finalizing() else _telling:  # which a thread may have ended with
            while told != (paged := _spaces.paged()):
                _paging.paged = told = paged
                expect_paging(*paged)

    def _prepare_fork(self) -> None:
        for backing in self._backings():
            backing.copy_for_child()

    def _end_fork(self) -> None:
        for backing in self._backings():
            backing.file_of_child = None

    def _separate(self) -> list[OSError]:
        """In the child of a fork: pages that pagers filled become the child's own, as all its other memory is.

        Returns:
            Why some could not.  Their areas have gone: what is written there must not reach the parent.
        """
        self._lock = threading.RLock()  # the parent's is held
        failures: dict[PagerBacking, OSError] = {}
        for backing in self._backings():
            failure = backing.take_copy()
            if failure is not None:
                failures[backing] = failure
        for area in list(self._areas):
            if isinstance(area.backing, PagerBacking):
                self._attach(area, area.backing, failures)
        return list(failures.values())

    def _attach(self, area: Area, backing: PagerBacking, failures: dict[PagerBacking, OSError]) -> None:
        try:
            if backing not in failures:
                backing.attach(area)
        except OSError as failure:
            failures[backing] = failure
        if backing in failures:
            protect_memory(area.range.start, area.range.size, NO_ACCESS)
            self._areas.replace(area.range.start, area.range.end, [])

    def _backings(self) -> set[PagerBacking]:
        return {area.backing for area in self._areas if isinstance(area.backing, PagerBacking)}

    def _resolve(self, error: FaultError) -> FaultError | None:
        """Resolve a fault; return None, or the error to raise for it."""
        try:
            return self._bring_in(error)
        except (OSError, RuntimeError) as cause:
            return self._refuse(error, cause)

    def _bring_in(self, error: FaultError) -> FaultError | None:
        """Bring in the page of a fault, and show it; return None, or the error to raise.

        Raises:
            OSError: The system does not show the page, which stays in.
            RuntimeError: An operation of the same thread was interrupted for this.
        """
        page, write = error.address.align_down(), error.access is _WRITE
        mine = Busy()
        backing, offset = None, 0
        try:
            is_ours = False
            while not is_ours:  # a break out of the block is, to PyPy, a block that any later exception leaves again
                with self._lock_to_change():
                    found = self._find_paged(page)
                    if found is None or error.access not in found[0].flags:
                        return error
                    area, backing, offset = found
                    busy = backing.busy.get(offset)
                    if busy is None and offset in backing.resident:
                        backing.show(area, offset, written=write or backing.resident[offset])
                        self._paging.resolved += 1
                        return None
                    is_ours = busy is None
                    if is_ours:
                        backing.busy[offset] = mine
                if busy is None:
                    continue
                if busy.thread == mine.thread:
                    return self._refuse(error, RuntimeError("a pager or write-back accesses the page that it is for"))
                if sys.is_finalizing():
                    return self._refuse(error, RuntimeError("the page was on its way when the interpreter ended"))
                busy.wait()
            assert backing is not None
            try:
                content = self._ask(backing, page, error.access)
            except Exception as cause:
                return self._refuse(error, cause)
            with self._lock_to_read():
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
            with self._lock_to_change():
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
            with self._lock_to_read():
                backing.drop(offset, PAGE_SIZE)
                self._paging.pages_out += 1
            return 1
        except BaseException:
            with self._lock_to_read(), contextlib.suppress(OSError):
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
        content = interrupt(access_user_memory, backing.pager, page, access)
        if content is None:
            return None
        if not isinstance(content, bytes):
            raise TypeError(f"a pager returns bytes or None, not {type(content).__name__}")
        if type(content) is not bytes:
            content = memoryview(content).tobytes()  # without what its class says of it
        if len(content) != PAGE_SIZE:
            raise ValueError(f"a pager returned {len(content)} bytes for a page of {PAGE_SIZE}")
        return content

    def _refuse(self, error: FaultError, cause: BaseException | None) -> FaultError:
        with self._lock_to_read():
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
        with self._lock_to_read():
            if backing is not None and backing.busy.get(offset) is busy:
                del backing.busy[offset]
        busy.end()


def _resolve_anywhere(error: FaultError) -> FaultError | None:
    space = _spaces.find(error.address)
    return error if space is None else space._resolve(error)
