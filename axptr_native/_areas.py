# SPDX-License-Identifier: MIT
"""The areas of an address space: which addresses are mapped, how, and to what."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from .addr import VirtAddr, VirtAddrRange

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .flags import MappingFlags


class Backing:
    """What the pages of an area hold.  Areas that were cut from one mapping share it, and may be joined again."""

    __slots__ = ()


class Area:
    """A run of pages that are mapped alike.  Immutable.

    Attributes:
        range: Its addresses.
        flags: The access that it allows.
    """

    __slots__ = ("backing", "flags", "offset", "range")

    def __init__(self, range: VirtAddrRange, flags: MappingFlags, backing: Backing | None, offset: int) -> None:  # noqa: A002
        self.range = range
        self.flags = flags
        self.backing = backing
        """None: anonymous memory."""
        self.offset = offset
        """Where the area starts in its backing, in bytes."""

    def part(self, start: int, end: int, flags: MappingFlags | None = None) -> Area:
        """Return the part of the area that lies in [start, end), with other flags if they are given."""
        start, end = max(start, self.range.start), min(end, self.range.end)
        return Area(
            VirtAddrRange(start, end),
            self.flags if flags is None else flags,
            self.backing,
            self.offset + start - self.range.start,
        )

    def continues(self, other: Area) -> bool:
        """Return whether this area goes on where ``other`` ends, so that the two are one."""
        return (
            other.range.end == self.range.start
            and other.flags == self.flags
            and other.backing is self.backing
            and (self.backing is None or other.offset + other.range.size == self.offset)
        )

    def __repr__(self) -> str:
        kind = "anonymous" if self.backing is None else type(self.backing).__name__
        return f"<Area {self.range.start}-{self.range.end} {self.flags!r} {kind}>"


_NOWHERE = (0, 0, 0)


class AreaTable:
    """Areas in the order of their addresses, none overlapping.  Look-ups are by bisection."""

    __slots__ = ("_areas", "_starts", "latest")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._areas: list[Area] = []
        self.latest = _NOWHERE
        """Start, end and flags of the area that ``find`` found last, which may be read without a lock."""

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas)

    def find(self, address: int) -> Area | None:
        """Return the area that holds an address."""
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._areas[index].range.end:
            return None
        found = self._areas[index]
        self.latest = int(found.range.start), int(found.range.end), found.flags.value
        return found

    def overlapping(self, start: int, end: int) -> list[Area]:
        """Return the areas that have a byte in [start, end), in order."""
        return self._areas[self._slice(start, end)]

    def covers(self, start: int, end: int) -> bool:
        """Return whether every byte of [start, end) is in an area."""
        at = start
        for area in self.overlapping(start, end):
            if area.range.start > at:
                return False
            at = area.range.end
        return at >= end

    def free(self, start: int, end: int, size: int, align: int) -> VirtAddr | None:
        """Return the lowest aligned address in [start, end) from which ``size`` bytes up to ``end`` are in no area."""
        at = VirtAddr(start).align_up(align)
        for area in self.overlapping(start, end):
            if at + size <= area.range.start:
                break
            at = max(at, area.range.end.align_up(align))
        return at if at + size <= end else None

    def replace(self, start: int, end: int, areas: list[Area]) -> None:
        """Put ``areas``, in order and within [start, end), in place of what is there; join what goes together."""
        where = self._slice(start, end)
        pieces = list(areas)
        for old in self._areas[where]:
            if old.range.start < start:
                pieces.insert(0, old.part(old.range.start, start))
            if old.range.end > end:
                pieces.append(old.part(end, old.range.end))
        first, last = max(where.start - 1, 0), where.stop + 1
        pieces = [*self._areas[first : where.start], *pieces, *self._areas[where.stop : last]]
        joined: list[Area] = []
        for piece in pieces:
            if joined and piece.continues(joined[-1]):
                before = joined.pop()
                piece = Area(
                    VirtAddrRange(before.range.start, piece.range.end), before.flags, before.backing, before.offset
                )
            joined.append(piece)
        starts = [area.range.start for area in joined]
        where = slice(first, last)
        replaced = self._areas[where]
        # Nothing is made or let go between the two, so that no finalizer sees one without the other.
        self._areas[where] = joined
        self._starts[where] = starts
        self.latest = _NOWHERE
        del replaced

    def _slice(self, start: int, end: int) -> slice:
        first = bisect_right(self._starts, start) - 1
        if first < 0 or self._areas[first].range.end <= start:
            first += 1
        return slice(first, max(first, bisect_left(self._starts, end)))
