# SPDX-License-Identifier: MIT
"""Address spaces: a range of addresses of one's own, with areas mapped into it."""

from __future__ import annotations

import errno
from operator import index
from typing import TypeVar

from ._areas import Area, Backing
from ._buffer import view_of
from ._mapping import Mapping, changes, check_flags
from ._memory import NO_ACCESS, changed_protection, map_memory
from ._native import MAP_FIXED, MAP_POPULATE, MAP_SHARED, check_status
from ._native import lib_dropping_gil as lib
from ._overlap import write_buffer
from ._pager import PagerBacking, PagingCounters
from .addr import PAGE_SIZE, VirtAddrRange
from .errors import FaultError, FaultReason
from .flags import MappingFlags
from .space import SURE_SPACES, space_error
from .uaccess import copy_from_user, probe_read, probe_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from _typeshed import FileDescriptorLike, ReadableBuffer
    from typing_extensions import Self

    from ._pager import Pager, WriteBack

__all__ = ["AddrSpace", "Area", "PagingCounters"]

_Result = TypeVar("_Result")
_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE
_OFFSET_MAX = (1 << 63) - 1
_DESCRIPTOR_MAX = (1 << 31) - 1


class _File(Backing):
    __slots__ = ()


class AddrSpace(Mapping):
    """A range of addresses that nothing else can move into, with areas mapped into it.

    What is not mapped allows no access, so a stale pointer into it always faults.  A context manager: leaving it
    closes the space.  Let go without that it is unmapped too, with the last of what refers to it.

    Everything may be called from any thread.  What a finalizer, or a signal handler, unmaps while it interrupts an
    operation of the space is unmapped with the next one; anything else that would change the space there is
    RuntimeError.

    Args:
        size: Bytes to reserve; a multiple of PAGE_SIZE.

    Raises:
        OSError: EINVAL for another size, ENOMEM if there is no room.

    Source: Starry-OS ``axmm::AddrSpace``.
    """

    def map_alloc(self, start: int | None, size: int, flags: MappingFlags, *, populate: bool = False) -> VirtAddrRange:
        """Map zeroed memory.

        Args:
            start: Where, a multiple of PAGE_SIZE; None: where there is room.
            size: Bytes, a multiple of PAGE_SIZE.
            flags: The access that is allowed.
            populate: Bring the pages in now instead of when they are touched.

        Returns:
            The addresses.

        Raises:
            OSError: EINVAL (unaligned, or not in the space), EEXIST (something is mapped there), ENOMEM (no room).
                Nothing was changed.
            ValueError: The space is closed.

        Source: Starry-OS ``AddrSpace::map_alloc``.
        """
        options = MAP_FIXED | (MAP_POPULATE if populate else 0)
        return self._map(
            start, size, flags, None, 0, lambda at, size: map_memory(size, flags, start=at, options=options)
        )

    def map_file(
        self,
        start: int | None,
        file: FileDescriptorLike,
        size: int,
        flags: MappingFlags,
        *,
        offset: int = 0,
        shared: bool = True,
    ) -> VirtAddrRange:
        """Map a file.  What lies past its end faults with BEYOND_END when it is touched.

        Args:
            start: Where, a multiple of PAGE_SIZE; None: where there is room.
            file: A file or its descriptor.  It may be closed afterwards.
            size: Bytes, a multiple of PAGE_SIZE.
            flags: The access that is allowed.
            offset: Where in the file, in bytes, a multiple of PAGE_SIZE.
            shared: Writes reach the file; otherwise they stay in this mapping.

        Returns:
            The addresses.

        Raises:
            OSError: As ``map_alloc``, and the system's own (EACCES, ENODEV ...); on Windows, which maps no file over
                addresses that are reserved, ENOTSUP.  Nothing was changed.
            ValueError: The space is closed.
        """
        offset = index(offset)
        if offset < 0 or offset % PAGE_SIZE:
            raise space_error(errno.EINVAL, f"file offset {offset} is not a multiple of {PAGE_SIZE}")
        if offset > _OFFSET_MAX:
            raise space_error(errno.EOVERFLOW, f"file offset {offset} does not fit")
        descriptor = file if isinstance(file, int) else file.fileno()
        if not 0 <= descriptor <= _DESCRIPTOR_MAX:  # ctypes would wrap it to another
            raise space_error(errno.EBADF, f"{descriptor} is no file descriptor")
        options = MAP_FIXED | (MAP_SHARED if shared else 0)
        return self._map(
            start,
            size,
            flags,
            _File(),
            offset,
            lambda at, size: map_memory(size, flags, start=at, options=options, file=descriptor, offset=offset),
        )

    def map_pager(
        self,
        start: int | None,
        size: int,
        flags: MappingFlags,
        pager: Pager,
        *,
        write_back: WriteBack | None = None,
    ) -> VirtAddrRange:
        """Map memory that is filled a page at a time, when a guarded access touches it.

        Args:
            start: Where, a multiple of PAGE_SIZE; None: where there is room.
            size: Bytes, a multiple of PAGE_SIZE.
            flags: The access that is allowed.
            pager: Called with the page's address (in the space, so that ``address - start`` is the offset) and the
                access that touched it; returns PAGE_SIZE bytes, or None to refuse.  If it refuses, raises, or returns
                anything else, the access is FaultError with reason REFUSED, from what it raised, and so it is if the
                system has no mapping left to show the page.  It may access user memory itself, but not the page that it
                is asked for; two pagers that touch each other's pages at the same time wait for each other for ever.
            write_back: Called by ``evict`` with the address and the content of each page that was written to.

        Returns:
            The addresses.

        Raises:
            OSError: As ``map_alloc``; ENOTSUP on Windows, as for a file.  Nothing was changed.
            TypeError: The pager, or ``write_back``, cannot be called.
            ValueError: The space is closed.
        """
        if not callable(pager) or not (write_back is None or callable(write_back)):
            raise TypeError(f"functions are required as the pager and to write back, not {pager!r} and {write_back!r}")
        _, size = self._check_place(self.base if start is None else start, size)
        backing = PagerBacking(size, pager, write_back)

        def establish(at: int, size: int) -> int:
            self._expect_faults()
            return map_memory(size, NO_ACCESS, start=at, options=MAP_FIXED | MAP_SHARED, file=backing.file.descriptor)

        return self._map(start, size, flags, backing, 0, establish)

    def unmap(self, start: int, size: int) -> None:
        """Take everything out of a range, which may have holes.

        Pages that a pager filled are forgotten, also those that were written to.

        Raises:
            OSError: EINVAL (unaligned, or not in the space); ENOMEM (the system has no more mappings).  Nothing was
                changed.
            ValueError: The space is closed.

        Source: Starry-OS ``AddrSpace::unmap``.
        """
        start, size = self._check_place(start, size)
        if self._is_interrupted():
            self._put_off.append((start, start + size))
            return
        with self._lock_to_change():
            self._begin()
            removed = self._clear(start, start + size)
        # Not before the lock is: with the areas may go what their pagers belong to, and its finalizers run.
        del removed

    def protect(self, start: int, size: int, flags: MappingFlags) -> None:
        """Change the access that a range allows.

        Raises:
            OSError: EINVAL (unaligned, or not in the space); ENOMEM (there is a hole in it, or the system has no more
                mappings); the system's own.  Nothing was changed, unless other threads took the last mappings at the
                same moment: then some pages may allow what was asked for.
            ValueError: The space is closed.

        Source: Starry-OS ``AddrSpace::protect``.
        """
        start, size = self._check_place(start, size)
        check_flags(flags)
        end = start + size
        with self._lock_to_change():
            self._begin()
            if not self._areas.covers(start, end):
                raise space_error(errno.ENOMEM, f"there is a hole in [{start:#x}, {end:#x})")
            parts = [area.part(start, end) for area in self._areas.overlapping(start, end)]
            with changed_protection([change for part in parts for change in changes(part, flags)]):
                self._areas.replace(start, end, [part.part(start, end, flags) for part in parts])

    def check_region_access(self, range: VirtAddrRange, flags: MappingFlags) -> bool:  # noqa: A002
        """Return whether every byte of a range is mapped and allows this access.  False once the space is closed.

        Advice: it may have changed by the time of the access.

        Source: Starry-OS ``AddrSpace::can_access_range``.
        """
        if self._closed or not self.contains_range(range.start, range.size):
            return False
        with self._lock_to_read():
            areas = self._areas.overlapping(range.start, range.end)
            return self._areas.covers(range.start, range.end) and all(flags in area.flags for area in areas)

    def populate_area(self, start: int, size: int, flags: MappingFlags) -> None:
        """Bring the pages of a range in for an access, so that it need not fault.

        Args:
            start: Where, a multiple of PAGE_SIZE.
            size: Bytes, a multiple of PAGE_SIZE.
            flags: With WRITE, for writing; otherwise for reading.

        Raises:
            OSError: The system's own: ENOMEM (there is a hole in it, or the system has no more mappings), EINVAL (the
                access is not allowed; unaligned, or not in the space), EFAULT (past the end of a file).  Some pages may
                have been brought in.
            FaultError: A pager did not resolve it.
            ValueError: The space is closed.

        Source: Starry-OS ``AddrSpace::populate_area``; Linux ``MADV_POPULATE_READ``, ``MADV_POPULATE_WRITE``.
        """
        start, size = self._check_place(start, size)
        access = _WRITE if _WRITE in flags else _READ
        end = start + size
        with self._lock_to_read():
            self._check_open()
            if not self._areas.covers(start, end):
                raise space_error(errno.ENOMEM, f"there is a hole in [{start:#x}, {end:#x})")
            parts = [area.part(start, end) for area in self._areas.overlapping(start, end)]
        for part in parts:
            if access not in part.flags:
                raise space_error(errno.EINVAL, f"{part!r} does not allow {access!r}")
        for part in parts:
            if not isinstance(part.backing, PagerBacking):
                check_status(lib.axp_populate(part.range.start, part.range.size, access))
                continue
            for page in range(part.range.start, part.range.end, PAGE_SIZE):
                refused = self._bring_in(FaultError(page, access, FaultReason.NOT_PERMITTED))
                if refused is not None:
                    raise refused

    def read(self, addr: int, size: int) -> bytes:
        """Return bytes of this space, guarded.

        Raises:
            FaultError: They cannot be read; OUT_OF_RANGE if they do not all lie in the space.
        """
        addr, size = self._check_span(addr, size, _READ)
        return copy_from_user(addr, size)

    def write(self, addr: int, data: ReadableBuffer) -> None:
        """Write the bytes of a buffer into this space, guarded.

        Raises:
            FaultError: They cannot be written; OUT_OF_RANGE if they do not all lie in the space.  The first
                ``transferred`` bytes were written.
        """
        with view_of(data) as source:
            addr, _ = self._check_span(addr, source.nbytes, _WRITE)
            write_buffer(addr, source)

    def clear(self) -> None:
        """Unmap everything.  Where the system has no more mappings, its memory is kept until it is mapped again.

        Raises:
            ValueError: The space is closed.

        Source: Starry-OS ``AddrSpace::clear``.
        """
        with self._lock_to_change():
            self._check_open()
            removed = self._clear_all()
        del removed

    def close(self) -> None:
        """Unmap everything, for good.  May be called again.

        Pointers into the space, and references and slices that were made from them, raise FaultError from now on.
        """
        with self._lock_to_change():
            removed = [] if self._closed else self._clear_all()
            self._closed = True
        del removed

    def _is_ready(self, start: int, size: int, flags: int) -> bool:
        areas = self._areas
        first, end, allowed = areas.latest
        if not first <= start <= end - size:
            with self._lock_to_read():
                areas.find(start)
                first, end, allowed = areas.latest
        ready = first <= start <= end - size and flags & allowed == flags
        return ready and (probe_write if flags & 2 else probe_read)(start, size) == size

    def with_addr_space(self, f: Callable[[AddrSpace], _Result], /) -> _Result:
        """Return ``f(self)``: an address space is its own provider."""
        return f(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check_span(self, addr: int, size: int, access: MappingFlags) -> tuple[int, int]:
        addr, size = index(addr), index(size)
        if not self.contains_range(addr, size):
            raise FaultError(addr, access, FaultReason.OUT_OF_RANGE, size=size)
        return addr, size


SURE_SPACES.add(AddrSpace)
