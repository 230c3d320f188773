# SPDX-License-Identifier: MIT
"""Touch memory that is not trusted, and live: a real fault becomes ``EFAULT``, an ordinary exception."""

from . import atomics, handlers, uaccess
from .addr import PAGE_SIZE, VirtAddr, VirtAddrRange
from .errors import EncodingError, FaultError, FaultReason, TooLongError, UserMemoryError
from .flags import MappingFlags
from .handlers import access_user_memory, is_accessing_user_memory

__all__ = [
    "PAGE_SIZE",
    "EncodingError",
    "FaultError",
    "FaultReason",
    "MappingFlags",
    "TooLongError",
    "UserMemoryError",
    "VirtAddr",
    "VirtAddrRange",
    "access_user_memory",
    "atomics",
    "handlers",
    "is_accessing_user_memory",
    "uaccess",
]
