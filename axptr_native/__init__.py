# SPDX-License-Identifier: MIT
"""Touch memory that is not trusted, and live: a real fault becomes ``EFAULT``, an ordinary exception."""

from importlib import import_module

from . import atomics, handlers, uaccess
from ._native import lib
from .addr import PAGE_SIZE, VirtAddr, VirtAddrRange
from .errors import EncodingError, FaultError, FaultReason, TooLongError, UserMemoryError
from .flags import MappingFlags
from .handlers import access_user_memory, is_accessing_user_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import batch
    from .aspace import AddrSpace
    from .call import CallFaultError, guarded, guarded_call
    from .check import check_null_terminated, check_region
    from .guarded_view import GuardedView
    from .ptr import UserConstPtr, UserPtr
    from .space import AddrSpaceProvider, ProcessSpace
    from .view import UserRef, UserSlice

__all__ = [
    "PAGE_SIZE",
    "AddrSpace",
    "AddrSpaceProvider",
    "CallFaultError",
    "EncodingError",
    "FaultError",
    "FaultReason",
    "GuardedView",
    "MappingFlags",
    "ProcessSpace",
    "TooLongError",
    "UserConstPtr",
    "UserMemoryError",
    "UserPtr",
    "UserRef",
    "UserSlice",
    "VirtAddr",
    "VirtAddrRange",
    "access_user_memory",
    "atomics",
    "batch",
    "check_null_terminated",
    "check_region",
    "guarded",
    "guarded_call",
    "handlers",
    "is_accessing_user_memory",
    "lib",
    "uaccess",
]

# Imported when they are asked for: programs that access plain addresses need not wait for them.
_LATER = {
    "AddrSpace": "aspace",
    "AddrSpaceProvider": "space",
    "CallFaultError": "call",
    "GuardedView": "guarded_view",
    "ProcessSpace": "space",
    "UserConstPtr": "ptr",
    "UserPtr": "ptr",
    "UserRef": "view",
    "UserSlice": "view",
    "batch": "batch",
    "check_null_terminated": "check",
    "check_region": "check",
    "guarded": "call",
    "guarded_call": "call",
}


if not TYPE_CHECKING:  # to a type checker, a name that is not imported above is an error

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f".{_LATER[name]}", __name__)
        value: object = module if name == _LATER[name] else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
