# SPDX-License-Identifier: MIT
"""Changes to the areas of an address space, and to the memory beneath them."""

from __future__ import annotations

import contextlib
import errno

from ._areas import Area, Backing
from ._demand import DemandPaging
from ._memory import NO_ACCESS, Change, protect_memory, reserve_memory
from ._pager import PagerBacking
from .addr import PAGE_SIZE, VirtAddr, VirtAddrRange
from .flags import MappingFlags
from .space import space_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ALL = (MappingFlags.READ | MappingFlags.WRITE | MappingFlags.EXECUTE).value


class Mapping(DemandPaging):
    """The half of an address space that maps and unmaps."""

    def _map(
        self,
        start: int | None,
        size: int,
        flags: MappingFlags,
        backing: Backing | None,
        offset: int,
        establish: Callable[[int, int], int],
    ) -> VirtAddrRange:
        place, size = self._check_place(self.base if start is None else start, size)
        check_flags(flags)
        with self._lock_to_change():
            self._begin()
            at = self._areas.free(self.base, self.end, size, PAGE_SIZE) if start is None else VirtAddr(place)
            if at is None:
                raise space_error(errno.ENOMEM, f"no room for {size} bytes in {self!r}")
            taken = self._areas.overlapping(at, at + size)
            if taken:
                raise space_error(errno.EEXIST, f"{size} bytes at {at} overlap {taken[0]!r}")
            mapped = VirtAddrRange.from_start_size(at, size)
            try:
                establish(at, size)
                self._areas.replace(mapped.start, mapped.end, [Area(mapped, flags, backing, offset)])
            except BaseException:
                self._areas.replace(mapped.start, mapped.end, [])
                with contextlib.suppress(OSError):  # a mapping that failed for want of mappings took nothing with it
                    reserve_memory(size, start=at)
                raise
            return mapped

    def _begin(self) -> None:
        """Begin a change, with the lock held; first do what was put off."""
        self._check_open()
        while self._put_off:
            start, end = self._put_off[-1]
            self._clear(start, end)
            self._put_off.remove((start, end))

    def _clear_all(self) -> list[Area]:
        try:
            return self._clear(self.base, self.end)
        except OSError:
            # One mapping too many for the system.  To hide what is there takes none, and the rest is done when the
            # addresses are given back.
            protect_memory(self.base, self.size, NO_ACCESS)
            return self._forget(self.base, self.end)

    def _clear(self, start: int, end: int) -> list[Area]:
        reserve_memory(end - start, start=start)
        return self._forget(start, end)

    def _forget(self, start: int, end: int) -> list[Area]:
        removed = [area.part(start, end) for area in self._areas.overlapping(start, end)]
        self._areas.replace(start, end, [])
        for area in removed:
            if isinstance(area.backing, PagerBacking):
                area.backing.drop(area.offset, area.range.size)
        return removed


def check_flags(flags: MappingFlags) -> None:
    """Refuse what is no access that memory can allow.

    Raises:
        TypeError: No MappingFlags.
        OSError: EINVAL: more than the flags that there are.
    """
    if not isinstance(flags, MappingFlags):
        raise TypeError(f"MappingFlags are required, not {flags!r}")
    if flags.value & ~_ALL:  # of the flags themselves, ~ knows only those that there are
        raise space_error(errno.EINVAL, f"{flags!r} are more than the flags that there are")


def changes(area: Area, flags: MappingFlags) -> list[Change]:
    """Return what the system has to change so that an area allows this."""
    if isinstance(area.backing, PagerBacking):
        return area.backing.changes(area, flags)
    return [Change(area.range.start, area.range.size, area.flags, flags)]
