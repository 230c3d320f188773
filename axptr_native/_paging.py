# SPDX-License-Identifier: MIT
"""Between a fault and its exception: whoever pages memory in may resolve it, and the access goes on."""

from __future__ import annotations

from ._native import fault_error, go_on
from .errors import FaultError, FaultReason

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable

    from .flags import MappingFlags

resolver: Callable[[FaultError], FaultError | None] | None = None
"""Returns None if the fault was resolved, or else the error to raise.  Set once there is memory that is paged in."""

paged = (0, 0)
"""The lowest address that may be paged in, and the one after the highest."""

_RETRIES = 1000
"""How often one byte may fault again after it was resolved: pages may be taken away again by other threads."""


def can_resolve(addr: int, access: MappingFlags) -> bool:
    """Have a fault at an address resolved, if anybody can."""
    return resolver is not None and resolver(FaultError(addr, access, FaultReason.REFUSED)) is None


def resume(again: Callable[[int], int], size: int | None, *, before: int = 0, overlap: int = 0) -> int:
    """Finish an access that faulted, or raise its fault.

    Args:
        again: Runs the access from a number of bytes after its start, and returns its status.
        size: Bytes that the whole operation was asked for.
        before: Bytes that the operation had done before this access.
        overlap: Bytes before the fault that are to be looked at again.

    Returns:
        From how many bytes after its start the access went on for the last time.
    """
    done, reached, retries = 0, 0, 0
    while True:
        error = fault_error(size, before=before + done)
        if resolver is None or retries == _RETRIES or error.signal is None:
            raise error
        refused = resolver(error)
        if refused is not None:
            raise refused
        progress = error.transferred - before
        retries = retries + 1 if progress == reached else 0
        reached = progress
        done = max(done, progress - overlap)
        if go_on(again, done) == 0:
            return done
