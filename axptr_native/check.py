# SPDX-License-Identifier: MIT
"""The checks before an access: alignment, permission, population, in this order.

They are advice, since what they found may change; the access itself is guarded all the same.
"""

from __future__ import annotations

import errno
from ctypes import alignment
from operator import index
from typing import Any, NamedTuple

from . import _native
from ._buffer import sizeof
from ._native import ADDRESS_MAX, as_one, lib
from ._scalar import WIDTHS, require_ctype
from ._scans import count_elements, find_fault
from .addr import VirtAddr, VirtAddrRange
from .errors import FaultError, FaultReason, TooLongError
from .flags import MappingFlags
from .space import ProcessSpace
from .uaccess import check_zeroed_user

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
            TypeError: ``ctype`` is not a ctypes type that values can have.
        """
        if count < 0:
            raise ValueError(f"there are no {count} elements")
        try:
            return cls(sizeof(ctype) * count, alignment(ctype))
        except TypeError:
            require_ctype(ctype)
            raise


def check_region(aspace: Space, start: int, layout: Layout, flags: MappingFlags) -> None:
    """Check that a value of a layout can be accessed, and bring its pages in.

    Nothing is checked but the alignment if the size is 0.

    Raises:
        FaultError: MISALIGNED; OUT_OF_RANGE; REFUSED: the space does not allow the access everywhere.  Of the whole
            process, and past the end of a file, what the access itself would be.
        OSError: The system could not bring the pages in, for another reason: ENOMEM, say.
        TypeError: The start is not an integer.

    Source: axptr ``check_region``, whose layout may overflow.
    """
    start = index(start)
    if layout.align and start % layout.align:  # ctypes knows no alignment of what has no size
        raise FaultError(start, _strongest(flags), FaultReason.MISALIGNED, size=layout.size)
    if layout.size == 0:
        return
    if _native.injecting and not lib.axp_injection_held():
        as_one(start, layout.size, _strongest(flags), check_region, aspace, start, layout, flags)
        return
    _check_access(aspace, start, layout.size, flags, size=layout.size)
    first, last = VirtAddr(start).align_down(), VirtAddr(start + layout.size).align_up()
    try:
        aspace.populate_area(first, last - first, flags)
    except FaultError:
        raise
    except OSError as error:
        fault = find_fault(start, layout.size, _strongest(flags)) if error.errno == errno.EFAULT else None
        if fault is None:
            raise
        raise fault from error


def check_null_terminated(aspace: Space, start: int, ctype: type[Any], flags: MappingFlags, limit: int) -> int:
    """Check a run of elements that ends with one that is all zero bytes.

    The permission is checked page by page, before a page is read, for every page that an element touches; no page after
    the one where the terminator ends is looked at.

    Args:
        aspace: The space that has to allow the access.
        start: Where the run starts.
        ctype: The type of its elements.
        flags: The access that has to be allowed.
        limit: The most elements to look at, the terminator included.  0 checks nothing but the alignment.

    Returns:
        How many elements come before the terminator.

    Raises:
        FaultError: MISALIGNED; REFUSED or OUT_OF_RANGE: the space does not allow the access; or the read faulted.
        TooLongError: No terminator within ``limit`` elements.
        ValueError: ``limit`` is negative.
        TypeError: No element has a size, or the start or the limit is not an integer.

    Source: axptr ``check_null_terminated``, whose scan has no end and which checks an element's first page only.
    """
    start, limit = index(start), index(limit)
    if limit < 0:
        raise ValueError(f"there are no {limit} elements")
    width = sizeof(ctype)
    if width == 0:
        raise TypeError(f"{ctype.__name__} has no size, so no element of it ends a run")
    if start % alignment(ctype):
        raise FaultError(start, _strongest(flags), FaultReason.MISALIGNED)
    if _native.injecting and not lib.axp_injection_held():
        size = min(limit * width, ADDRESS_MAX + 1 - start)
        return as_one(start, size, MappingFlags.READ, check_null_terminated, aspace, start, ctype, flags, limit)
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
    if limit:
        raise TooLongError(start, limit)
    return 0


def _count_odd(addr: int, width: int, limit: int) -> int:
    """Count elements of a size that no machine word has."""
    return next((i for i in range(limit) if check_zeroed_user(addr + i * width, width)), limit)


def _check_access(aspace: Space, start: int, touched: int, flags: MappingFlags, *, size: int | None = None) -> None:
    if not 0 <= start <= ADDRESS_MAX or touched > ADDRESS_MAX + 1 - start:
        raise FaultError(start, _strongest(flags), FaultReason.OUT_OF_RANGE, size=size)
    region = VirtAddrRange.from_start_size(start, touched)
    if aspace.check_region_access(region, flags):
        return
    single = [flag for flag in (MappingFlags.READ, MappingFlags.WRITE, MappingFlags.EXECUTE) if flag in flags]
    missing = next((flag for flag in single if not aspace.check_region_access(region, flag)), _strongest(flags))
    if isinstance(aspace, ProcessSpace):
        fault = find_fault(start, touched, missing)
        if fault is not None:
            raise FaultError(
                fault.address, missing, fault.reason, transferred=fault.transferred, size=size, signal=fault.signal
            )
    raise FaultError(start, missing, FaultReason.REFUSED, size=size)


def _strongest(flags: MappingFlags) -> MappingFlags:
    return MappingFlags.WRITE if MappingFlags.WRITE in flags else MappingFlags.READ
