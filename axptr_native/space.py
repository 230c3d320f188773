# SPDX-License-Identifier: MIT
"""What an address space is to pointers and checks, and the one that is always there: the whole process."""

from __future__ import annotations

import errno
import os
from operator import index
from typing import Any, Protocol, TypeVar

from ._buffer import view_of
from ._native import ADDRESS_MAX, check_status
from ._native import lib_dropping_gil as lib
from ._overlap import write_buffer
from ._paging import can_resolve
from .addr import VirtAddr, VirtAddrRange
from .flags import MappingFlags
from .uaccess import copy_from_user, probe_read, probe_write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

__all__ = ["AddrSpaceProvider", "ProcessSpace", "Space"]

_Result = TypeVar("_Result")
_READ, _WRITE = MappingFlags.READ, MappingFlags.WRITE


class AddrSpaceProvider(Protocol):
    """Something that lends an address space for the time of a call, holding a lock on it say.

    Source: axptr ``AddrSpaceProvider``.
    """

    def with_addr_space(self, f: Callable[[Space], _Result], /) -> _Result:
        """Return ``f(space)``."""


class Space(AddrSpaceProvider, Protocol):
    """What pointers and checks ask of an address space, which is its own provider."""

    def check_region_access(self, range: VirtAddrRange, flags: MappingFlags) -> bool:  # noqa: A002
        """Return whether every byte of the range may be accessed so."""

    def populate_area(self, start: int, size: int, flags: MappingFlags) -> None:
        """Bring the pages in."""


def lend(aspace: Any, f: Callable[[Any], _Result]) -> _Result:
    """Return ``f(space)``, with the address space that a provider lends.

    Raises:
        TypeError: It is no provider.
    """
    with_addr_space: Callable[[Any], _Result] | None = getattr(aspace, "with_addr_space", None)
    if with_addr_space is None:
        raise TypeError(f"an address space, or what lends one, is required, not {aspace!r}")
    return with_addr_space(f)


class ProcessSpace:
    """The whole process, whose page table is the hardware's: checks are guarded probes."""

    @property
    def base(self) -> VirtAddr:
        """The first address."""
        return VirtAddr(0)

    @property
    def end(self) -> VirtAddr:
        """The first address after the last."""
        return VirtAddr(ADDRESS_MAX + 1)

    def check_region_access(self, range: VirtAddrRange, flags: MappingFlags) -> bool:  # noqa: A002
        """Return whether every byte of a range can be accessed so, by trying one byte a page.

        Raises:
            OSError: ENOTSUP for EXECUTE, which cannot be tried.
        """
        if MappingFlags.EXECUTE in flags:
            raise space_error(errno.ENOTSUP, "whether memory can be executed is not known without executing it")
        if range.end > self.end or range.start < 0:
            return False
        probes = ((_READ, probe_read), (_WRITE, probe_write))
        return all(probe(range.start, range.size) == range.size for flag, probe in probes if flag in flags)

    def populate_area(self, start: int, size: int, flags: MappingFlags) -> None:
        """Bring the pages of a range in, as ``AddrSpace.populate_area`` does.

        Raises:
            OSError: The system's own: ENOMEM, EINVAL, EFAULT.
        """
        start, size = index(start), index(size)
        access = _WRITE if _WRITE in flags else _READ
        if not 0 <= start <= start + size <= ADDRESS_MAX:
            raise space_error(errno.EINVAL, f"{size} bytes at {start:#x} are not in the address space")
        check_status(lib.axp_populate(start, size, access))

    def handle_page_fault(self, addr: int, flags: MappingFlags) -> bool:
        """Resolve a fault at an address, if it lies in an AddrSpace that can."""
        return can_resolve(index(addr), _WRITE if _WRITE in flags else _READ)

    def read(self, addr: int, size: int) -> bytes:
        """Return bytes, guarded: ``uaccess.copy_from_user``."""
        return copy_from_user(addr, size)

    def write(self, addr: int, data: ReadableBuffer) -> None:
        """Write the bytes of a buffer, guarded, as ``uaccess.copy_to_user`` does; it may overlap the target."""
        with view_of(data) as source:
            write_buffer(addr, source)

    def _is_ready(self, start: int, size: int, flags: int) -> bool:
        return (probe_write if flags & 2 else probe_read)(start, size) == size

    def with_addr_space(self, f: Callable[[ProcessSpace], _Result], /) -> _Result:
        """Return ``f(self)``."""
        return f(self)

    def __repr__(self) -> str:
        return "ProcessSpace()"


SURE_SPACES: set[Any] = {ProcessSpace}
"""Types, not those derived from them, with ``_is_ready(start, size, flags)``.

If it is true then the permission was checked and the pages are in, by one probe of the memory itself: what
``check_region_access`` and ``populate_area`` would do in ten times the time.  If it is not, they are to be asked why.
"""


def space_error(number: int, detail: str) -> OSError:
    """Return the system's error with a word on what was wrong."""
    return OSError(number, f"{os.strerror(number)}: {detail}")
