# SPDX-License-Identifier: MIT
"""What goes wrong with user memory: one tree of exceptions, each with the errno that a kernel would return."""

from __future__ import annotations

import enum
import errno
import os

from .addr import VirtAddr
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

__all__ = ["EncodingError", "FaultError", "FaultReason", "TooLongError", "UserMemoryError"]


class FaultReason(enum.Enum):
    """Why a byte could not be accessed."""

    NOT_MAPPED = 1
    """Nothing is mapped there (SIGSEGV, ``SEGV_MAPERR``)."""
    NOT_PERMITTED = 2
    """It is mapped, but not for this access (SIGSEGV, ``SEGV_ACCERR``)."""
    BEYOND_END = 3
    """A mapping past the end of its file or object (SIGBUS, ``BUS_ADRERR``)."""
    NOT_CANONICAL = 4
    """An address that the processor cannot form."""
    MISALIGNED = 5
    """An access off its natural boundary."""
    REFUSED = 6
    """A check or a pager said no."""
    OUT_OF_RANGE = 7
    """The address, or the address plus the size, lies outside the address space."""
    HARDWARE = 8
    """The memory itself failed (SIGBUS, ``BUS_MCEERR_AR``)."""
    INJECTED = 9
    """A simulated fault."""

    def __str__(self) -> str:
        return _REASON_TEXTS[self]


_REASON_TEXTS = {
    FaultReason.NOT_MAPPED: "not mapped",
    FaultReason.NOT_PERMITTED: "not permitted",
    FaultReason.BEYOND_END: "beyond the end of the file",
    FaultReason.NOT_CANONICAL: "not a canonical address",
    FaultReason.MISALIGNED: "misaligned",
    FaultReason.REFUSED: "refused",
    FaultReason.OUT_OF_RANGE: "out of the address space",
    FaultReason.HARDWARE: "hardware memory error",
    FaultReason.INJECTED: "injected fault",
}

_VERBS = {MappingFlags.READ: "read", MappingFlags.WRITE: "write", MappingFlags.EXECUTE: "execute"}
BAD_ADDRESS = (errno.EFAULT, os.strerror(errno.EFAULT))
FAULT_FIELDS = ("address", "access", "reason", "transferred", "size", "signal")


_set_oserror = OSError.__init__  # super() would take as long again


def _verbs(access: MappingFlags) -> str:
    return " and ".join(verb for flag, verb in _VERBS.items() if flag in access) or "access"


class UserMemoryError(OSError):
    """User memory could not be used as asked; ``errno`` says why, as a system call would."""


class FaultError(UserMemoryError):
    """``EFAULT``: an access to user memory faulted, or was refused before it could.

    Attributes:
        address: The first byte that could not be accessed.
        access: What was attempted there: READ, WRITE or EXECUTE.
        transferred: Bytes done before it, exact. 0 for a single load, store or atomic, which is done or not done.
        size: Bytes that were asked for, or None where that is not known.
        reason: Why.
        signal: The signal that the system raised, or None when the access was refused before touching memory.  On
            Windows, which raises an exception instead, it is SIGSEGV whatever the reason.
    """

    # Made after every fault, so: slots, and no words before somebody wants to read them.
    __slots__ = FAULT_FIELDS

    def __init__(
        self,
        address: int,
        access: MappingFlags,
        reason: FaultReason,
        transferred: int = 0,
        size: int | None = None,
        signal: int | None = None,
    ) -> None:
        # builtins.c does the same.
        _set_oserror(self, *BAD_ADDRESS)
        self.address = VirtAddr(address)
        self.access = access
        self.reason = reason
        self.transferred = transferred
        self.size = size
        self.signal = signal

    def __str__(self) -> str:
        return f"[Errno {self.errno}] {self._text()}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.errno}, {self._text()!r})"

    def _text(self) -> str:
        progress = "" if self.size is None else f" ({self.transferred} of {_plural(self.size, 'byte')} transferred)"
        verb = _VERBS.get(self.access) or _verbs(self.access)
        return f"{self.strerror}: cannot {verb} {self.address}: {self.reason}{progress}"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.address, self.access, self.reason, self.transferred, self.size, self.signal)
        return type(self), fields, self.__dict__


class EncodingError(UserMemoryError):
    """``EILSEQ``: bytes that were read are not text; raised from the UnicodeDecodeError.

    Attributes:
        address: Where the text starts.
    """

    def __init__(self, address: int, detail: str) -> None:
        self.address = VirtAddr(address)
        self.detail = detail
        super().__init__(errno.EILSEQ, f"{os.strerror(errno.EILSEQ)}: text at {self.address}: {detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address, self.detail), self.__dict__


class TooLongError(UserMemoryError):
    """``ENAMETOOLONG``: there is no terminator within the limit.

    Attributes:
        address: Where the string starts.
        limit: Elements that were searched.
    """

    def __init__(self, address: int, limit: int) -> None:
        self.address = VirtAddr(address)
        self.limit = limit
        super().__init__(
            errno.ENAMETOOLONG,
            # The system's words for it speak of a file name.
            f"String too long: no terminator within {_plural(limit, 'element')} at {self.address}",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.address, self.limit), self.__dict__


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
