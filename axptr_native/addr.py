# SPDX-License-Identifier: MIT
"""Addresses, ranges of addresses and pages."""

from __future__ import annotations

import mmap
from operator import index

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import overload

    from typing_extensions import Self

PAGE_SIZE: int = mmap.PAGESIZE
"""Bytes in a page, the unit of protection."""


class VirtAddr(int):
    """A virtual address: an ``int`` that shows in hexadecimal and knows alignment.

    Any ``int`` will do, so that an error can name an address that no processor has; an access checks the range.
    An address plus or minus a number of bytes is an address; the difference of two addresses is a plain ``int``.

    Source: Starry-OS ``memory_addr::VirtAddr``.

    Raises:
        TypeError: It is made of what is not an integer, a string or a float say.
    """

    __slots__ = ()

    def __new__(cls, address: int = 0) -> Self:
        """Take an address."""
        return int.__new__(cls, index(address))

    def align_down(self, align: int = PAGE_SIZE) -> VirtAddr:
        """Return the nearest multiple of ``align`` bytes (a power of two) that is not above the address.

        Raises:
            ValueError: ``align`` is not a power of two.
        """
        return VirtAddr(int(self) & ~(_power_of_two(align) - 1))

    def align_up(self, align: int = PAGE_SIZE) -> VirtAddr:
        """Return the nearest multiple of ``align`` bytes (a power of two) that is not below the address.

        Raises:
            ValueError: ``align`` is not a power of two.
        """
        return VirtAddr((int(self) + _power_of_two(align) - 1) & ~(align - 1))

    def align_offset(self, align: int = PAGE_SIZE) -> int:
        """Return the bytes between ``align_down(align)`` and the address.

        Raises:
            ValueError: ``align`` is not a power of two.
        """
        return int(self) & (_power_of_two(align) - 1)

    def is_aligned(self, align: int = PAGE_SIZE) -> bool:
        """Return whether the address is a multiple of ``align`` bytes (a power of two).

        Raises:
            ValueError: ``align`` is not a power of two.
        """
        return self.align_offset(align) == 0

    def __add__(self, other: int) -> VirtAddr:
        distance = other if isinstance(other, int) else _distance(other)
        return NotImplemented if distance is None else VirtAddr(int(self) + distance)

    __radd__ = __add__

    if TYPE_CHECKING:

        @overload
        def __sub__(self, other: VirtAddr) -> int: ...  # type: ignore[overload-overlap]
        @overload
        def __sub__(self, other: int) -> VirtAddr: ...

    def __sub__(self, other: int) -> int:
        distance = other if isinstance(other, int) else _distance(other)
        if distance is None:
            return NotImplemented
        difference = int(self) - distance
        return difference if isinstance(other, VirtAddr) else VirtAddr(difference)

    def __reduce__(self) -> tuple[type[VirtAddr], tuple[int]]:
        return type(self), (int(self),)

    def __repr__(self) -> str:
        return f"VirtAddr({self:#x})"

    def __str__(self) -> str:
        return f"{self:#x}"


class VirtAddrRange:
    """The bytes from ``start`` up to, not including, ``end``.  Immutable; compares and hashes by value.

    Source: Starry-OS ``memory_addr::VirtAddrRange``.

    Raises:
        ValueError: ``end`` lies before ``start``.
        TypeError: One of them is not an integer.
    """

    # Written out: importing dataclasses takes longer than the rest of the package.
    __slots__ = ("_end", "_start")

    def __init__(self, start: int, end: int) -> None:
        start, end = index(start), index(end)
        if end < start:
            raise ValueError(f"range ends at {end:#x}, before its start {start:#x}")
        self._start = VirtAddr(start)
        self._end = VirtAddr(end)

    @property
    def start(self) -> VirtAddr:
        """The first byte."""
        return self._start

    @property
    def end(self) -> VirtAddr:
        """The first byte after the range."""
        return self._end

    @classmethod
    def from_start_size(cls, start: int, size: int) -> VirtAddrRange:
        """Return the range of ``size`` bytes from ``start`` on.

        Raises:
            ValueError: ``size`` is negative.
        """
        return cls(start, start + size)

    @property
    def size(self) -> int:
        """Bytes in the range."""
        return self.end - self.start

    @property
    def is_empty(self) -> bool:
        """Whether there is no byte in the range."""
        return self.start == self.end

    def contains_range(self, other: VirtAddrRange) -> bool:
        """Return whether every byte of ``other`` lies in this range."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: VirtAddrRange) -> bool:
        """Return whether some byte lies in both ranges."""
        return max(self.start, other.start) < min(self.end, other.end)

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VirtAddrRange):
            return NotImplemented
        return self.start == other.start and self.end == other.end

    def __hash__(self) -> int:
        return hash((self.start, self.end))

    def __reduce__(self) -> tuple[type[VirtAddrRange], tuple[VirtAddr, VirtAddr]]:
        return type(self), (self.start, self.end)

    def __repr__(self) -> str:
        return f"VirtAddrRange({self.start:#x}, {self.end:#x})"


def _distance(other: object) -> int | None:
    """Return by how many bytes an address is to be moved, or None if that is for ``other`` to say: an array, perhaps.

    Raises:
        TypeError: ``other`` is a number that is no integer, which would make one of the address too.
    """
    try:
        return index(other)  # type: ignore[arg-type]
    except TypeError:
        from numbers import Number

        if isinstance(other, Number):
            raise TypeError(f"an address is moved by whole bytes, not by {other!r}") from None
        return None


def _power_of_two(align: int) -> int:
    if align <= 0 or align & (align - 1):
        raise ValueError(f"alignment must be a power of two, not {align}")
    return align
