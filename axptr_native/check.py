# SPDX-License-Identifier: MIT
"""The checks before an access: alignment, permission, population, in this order.

They are advice, since what they found may change; the access itself is guarded all the same.
"""

from __future__ import annotations

from ctypes import alignment, sizeof
from typing import Any, NamedTuple

from ._scalar import WIDTHS
from .addr import VirtAddr, VirtAddrRange
from .errors import FaultError, FaultReason, TooLongError
from .flags import MappingFlags
from .uaccess import check_zeroed_user, count_elements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .space import Space

__all__ = ["Layout", "check_null_terminated", "check_region"]


class Layout(NamedTuple):
    """How much room a value needs, and where it may start.

    Source: Rust ``core::alloc::Layout``.
    """

    size: int
    """Bytes."""
    align: int
    """Bytes; a power of two."""

    @classmethod
    def of(cls, ctype: type[Any], count: int = 1) -> Layout:
        """Return the layout of ``count`` values of a ctype, one after the other.

        Raises:
            ValueError: ``count`` is negative.
        """
        if count < 0:
            raise ValueError(f"there are no {count} elements")
        return cls(sizeof(ctype) * count, alignment(ctype))


def check_region(aspace: Space, start: int, layout: Layout, flags: MappingFlags) -> None:
    """Check that a value of a layout can be accessed, and bring its pages in.

    Nothing is checked but the alignment if the size is 0.

    Raises:
        FaultError: MISALIGNED, or REFUSED: the space does not allow the access everywhere; OUT_OF_RANGE.
        OSError: The system could not bring the pages in: its own error, ENOMEM or EFAULT say.

    Source: axptr ``check_region``, whose layout may overflow.
    """
    access = _strongest(flags)
    if start % layout.align:
        raise FaultError(start, access, FaultReason.MISALIGNED, size=layout.size)
    if layout.size == 0:
        return
    _check_access(aspace, start, layout.size, flags)
    first, last = VirtAddr(start).align_down(), VirtAddr(start + layout.size).align_up()
    aspace.populate_area(first, last - first, flags)


def check_null_terminated(aspace: Space, start: int, ctype: type[Any], flags: MappingFlags, limit: int) -> int:
    """Check a run of elements that ends with one that is all zero bytes.

    The permission is checked page by page, before a page is read, for every page that an element touches; no page after
    the one where the terminator ends is looked at.

    Args:
        aspace: The space that has to allow the access.
        start: Where the run starts.
        ctype: The type of its elements.
        flags: The access that has to be allowed.
        limit: The most elements to look at, the terminator included.

    Returns:
        How many elements come before the terminator.

    Raises:
        FaultError: MISALIGNED; REFUSED or OUT_OF_RANGE: the space does not allow the access; or the read faulted.
        TooLongError: No terminator within ``limit`` elements.

    Source: axptr ``check_null_terminated``, whose scan has no end and which checks an element's first page only.
    """
    width = sizeof(ctype)
    if start % alignment(ctype):
        raise FaultError(start, _strongest(flags), FaultReason.MISALIGNED)
    if width == 0:
        raise TypeError(f"{ctype.__name__} has no size, so no element of it ends a run")
    count, allowed = 0, start
    while count < limit:
        at = start + count * width
        end = VirtAddr(at + width).align_up()
        _check_access(aspace, allowed, end - allowed, flags)
        allowed = end
        whole = min((end - at) // width, limit - count)
        before = count_elements(at, width, whole) if width in WIDTHS else _count_odd(at, width, whole)
        count += before
        if before < whole:
            return count
    raise TooLongError(start, limit)


def _count_odd(addr: int, width: int, limit: int) -> int:
    """Count elements of a size that no machine word has."""
    return next((i for i in range(limit) if check_zeroed_user(addr + i * width, width)), limit)


def _check_access(aspace: Space, start: int, size: int, flags: MappingFlags) -> None:
    if start < 0 or not aspace.check_region_access(VirtAddrRange.from_start_size(start, size), flags):
        raise FaultError(start, _strongest(flags), FaultReason.REFUSED, size=size)


def _strongest(flags: MappingFlags) -> MappingFlags:
    return MappingFlags.WRITE if MappingFlags.WRITE in flags else MappingFlags.READ
