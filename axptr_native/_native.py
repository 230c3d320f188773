# SPDX-License-Identifier: MIT
"""The C library: where it is, what it exports, and what it says of a fault.  Nothing else loads it."""

from __future__ import annotations

import ctypes
import operator
import os
import sys
from ctypes import POINTER, c_char, c_char_p, c_int, c_int32, c_uint8, c_uint32, c_uint64, c_void_p

from .errors import FaultError, FaultReason
from .flags import MappingFlags

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _Result = TypeVar("_Result")

ABI_VERSION = 1

ADDRESS_MAX = 2 ** (8 * ctypes.sizeof(c_void_p)) - 1
"""The highest address that a pointer can hold."""

FAULTS_KEPT = 4
RESULTS = ("word", "float", "double", "long_double")
INJECTION_ONE, INJECTION_ENDLESS = 2**53, 2**63 - 1
MAP_SHARED, MAP_FIXED, MAP_POPULATE, MAP_RESERVE = 1, 2, 4, 8


class Fault(ctypes.Structure):
    """``axp_fault``."""

    _fields_ = (
        ("address", c_uint64),
        ("transferred", c_uint64),
        ("access", c_uint32),
        ("reason", c_uint32),
        ("signal", c_int32),
        ("code", c_int32),
    )


class Handler(ctypes.Structure):
    """``axp_handler``."""

    _fields_ = (("address", c_void_p), ("ours", c_int32), ("flags", c_int32))


class Symbol(ctypes.Structure):
    """``axp_symbol``."""

    _fields_ = (("symbol_start", c_void_p), ("file_start", c_void_p), ("name", c_char * 128), ("file", c_char * 512))


class BatchLimits(ctypes.Structure):
    """``axp_batch_limits``."""

    _fields_ = (("highest", c_uint64), ("faults", c_uint64), ("pause_start", c_uint64), ("pause_end", c_uint64))


class Caller(ctypes.Structure):
    """``axp_caller``."""

    _fields_ = (("address", c_void_p), ("arguments", c_uint32), ("floats", c_uint32), ("variadic", c_uint32))


class Call(ctypes.Structure):
    """``axp_call``."""

    _fields_ = (
        ("function", c_void_p),
        ("stack_start", c_void_p),
        ("stack_size", c_uint64),
        ("running", c_void_p),
        ("interpreter", c_void_p),
        ("entries", c_void_p),
        ("entered", c_int32),
        ("failed", c_int32),
        ("instruction", c_void_p),
        ("fault", Fault),
    )


class Injection(ctypes.Structure):
    """``axp_injection``."""

    _fields_ = (
        ("probability", c_uint64),
        ("interval", c_uint64),
        ("times", c_uint64),
        ("space", c_uint64),
        ("seed", c_uint64),
        ("calls", c_uint64),
        ("failures", c_uint64),
        ("reached", c_uint64),
        ("drawn", c_uint64),
        ("state", c_uint64),
        ("outer", c_void_p),
    )


# uintptr_t and size_t are c_void_p: a c_size_t costs 54 ns more an argument, and both take any int without a word, so
# that callers check the range first either way.
_word = c_void_p

PROTOTYPES: tuple[tuple[str, type, tuple[type, ...]], ...] = (
    ("axp_abi_version", c_uint32, ()),
    ("axp_compiler", c_char_p, ()),
    ("axp_take_fault", c_int, (POINTER(Fault),)),
    ("axp_install", c_int, ()),
    ("axp_handler_at", c_int, (c_int, c_uint32, POINTER(Handler))),
    ("axp_symbol_at", c_int, (_word, POINTER(Symbol))),
    ("axp_accessing_depth", c_uint32, ()),
    ("axp_set_accessing_depth", c_int, (c_uint32,)),
    ("axp_is_accessing", c_int, ()),
    ("axp_raw_copy_from_user", c_int, (c_void_p, _word, _word)),
    ("axp_copy_from_user", c_int, (c_void_p, _word, _word)),
    ("axp_strncpy_from_user", c_int, (c_void_p, _word, _word, _word, POINTER(_word))),
    ("axp_copy_to_user", c_int, (_word, c_void_p, _word)),
    ("axp_copy_in_user", c_int, (_word, _word, _word)),
    ("axp_fill_user", c_int, (_word, c_uint8, _word)),
    ("axp_strnlen_user", c_int, (_word, _word, _word, POINTER(_word))),
    ("axp_find_nonzero_user", c_int, (_word, _word, POINTER(_word))),
    ("axp_probe_read", c_int, (_word, _word, POINTER(_word))),
    ("axp_probe_write", c_int, (_word, _word, POINTER(_word))),
    ("axp_find_in_user", c_int, (_word, _word, c_void_p, _word, POINTER(_word))),
    ("axp_load", c_int, (_word, _word, c_void_p)),
    ("axp_store", c_int, (_word, _word, c_void_p)),
    ("axp_atomic_load", c_int, (_word, _word, c_void_p)),
    ("axp_atomic_store", c_int, (_word, _word, c_void_p)),
    ("axp_atomic_exchange", c_int, (_word, _word, c_void_p, c_void_p)),
    ("axp_atomic_compare_exchange", c_int, (_word, _word, c_void_p, c_void_p, c_void_p)),
    ("axp_atomic_fetch_add", c_int, (_word, _word, c_void_p, c_void_p)),
    ("axp_atomic_fetch_and", c_int, (_word, _word, c_void_p, c_void_p)),
    ("axp_atomic_fetch_or", c_int, (_word, _word, c_void_p, c_void_p)),
    ("axp_atomic_fetch_xor", c_int, (_word, _word, c_void_p, c_void_p)),
    ("axp_gather_from_user", c_int, (c_void_p, c_void_p, _word, _word, POINTER(BatchLimits), c_void_p, POINTER(_word))),
    ("axp_scatter_to_user", c_int, (c_void_p, c_void_p, _word, _word, POINTER(BatchLimits), c_void_p, POINTER(_word))),
    ("axp_probe_many", c_int, (c_void_p, _word, _word, POINTER(BatchLimits), c_void_p, POINTER(_word))),
    (
        "axp_read_strings",
        c_int,
        (c_void_p, _word, c_void_p, _word, _word, POINTER(BatchLimits), c_void_p, POINTER(_word)),
    ),
    ("axp_caller_of", c_int, (c_uint32, POINTER(Caller))),
    ("axp_begin_injection", c_int, (POINTER(Injection),)),
    ("axp_end_injection", c_int, (POINTER(Injection),)),
    ("axp_inject_everywhere", c_int, (POINTER(Injection),)),
    ("axp_injection_everywhere", c_int, (POINTER(Injection),)),
    ("axp_is_injecting", c_int, ()),
    ("axp_inject", c_int, (_word, _word, c_uint32)),
    ("axp_injection_held", c_uint32, ()),
    ("axp_hold_injection", c_int, (c_uint32,)),
    ("axp_page_size", _word, ()),
    ("axp_map", c_int, (_word, _word, c_uint32, c_uint32, c_int, c_uint64, POINTER(_word))),
    ("axp_protect", c_int, (_word, _word, c_uint32)),
    ("axp_unmap", c_int, (_word, _word)),
    ("axp_populate", c_int, (_word, _word, c_uint32)),
    ("axp_prefer_large_pages", c_int, (_word, _word)),
)
"""Every function of ``axptr.h``: name, result, arguments."""

_PRIVATE_PROTOTYPES = (
    ("axp_bind_python", c_int, (c_void_p, _word, _word, _word)),
    ("axp_builtin_at", c_char_p, (c_uint32, c_void_p)),
)
"""Those of ``builtins.h``."""

_KEEPING: type[ctypes.CDLL] = getattr(ctypes, "PyDLL", ctypes.CDLL)
"""What makes calls that keep the GIL, where there is such a thing: on PyPy every call drops it."""

_FILE_NAMES = {"win32": "axptr_native.dll", "darwin": "libaxptr_native.dylib"}


def _find_library() -> str:
    """Return the library's path: beside this file, or in another folder that the package was installed to.

    An editable install leaves the sources where they are, and so does starting Python in a checkout, whose folder
    then hides the installed package.
    """
    name = _FILE_NAMES.get(sys.platform, "libaxptr_native.so")
    folders = [*sys.modules[__package__].__path__, *(os.path.join(entry, __package__) for entry in sys.path)]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise ImportError(
        f"{name} is neither in {folders[0]} nor in another installed copy of the package: it has not been built. "
        "Install the package with 'pip install .', which needs a C compiler."
    )


def _bind(library: ctypes.CDLL) -> ctypes.CDLL:
    for name, result, arguments in (*PROTOTYPES, *_PRIVATE_PROTOTYPES):
        function = library[name]
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library


def _load() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    path = _find_library()
    try:
        keeping, dropping = _bind(_KEEPING(path)), _bind(ctypes.CDLL(path))
    except AttributeError as error:
        raise ImportError(f"{path} is of another version than this package: install the package again.") from error
    found = keeping.axp_abi_version()
    if found != ABI_VERSION:
        raise ImportError(
            f"{path} has ABI version {found}, this package needs {ABI_VERSION}: install the package again."
        )
    return keeping, dropping


lib, lib_dropping_gil = _load()
"""The library, twice: its calls keep the GIL, which costs a small access nothing, or drop it.

``lib`` is public, as ``axptr_native.lib``.
"""

# Beside one busy thread, dropping the GIL costs a small read 160 to 400 us; keeping it for 1 MiB holds it 20 us.
_DROP_GIL = 1 << 20


def lib_for(size: int, release_gil: bool = False) -> ctypes.CDLL:
    """Return the library that accesses of a size go through."""
    return lib_dropping_gil if release_gil or size >= _DROP_GIL else lib


def check_span(addr: int, size: int, access: MappingFlags) -> tuple[int, int]:
    """Return both as plain ints.  ctypes would wrap them: 2**64 + 5 to 5.

    Raises:
        FaultError: The address is not one, or the span leaves the address space.
        TypeError: One of them is not an integer.
    """
    if type(addr) is not int or type(size) is not int:
        addr, size = int(operator.index(addr)), int(operator.index(size))
    # A size that ctypes would wrap to 0 does not fit either, although it ends where the address space does.
    if not 0 <= addr <= ADDRESS_MAX or not 0 <= size <= min(ADDRESS_MAX, ADDRESS_MAX + 1 - addr):
        raise FaultError(addr, access, FaultReason.OUT_OF_RANGE, size=size)
    return addr, size


# A look-up through the enumeration's class takes 0.4 us.
ACCESSES = {flag.value: flag for flag in MappingFlags}
REASONS = {reason.value: reason for reason in FaultReason}


def fault_error(size: int | None = None, *, before: int = 0) -> FaultError:
    """Take this thread's newest fault record and return its exception.

    Args:
        size: Bytes that the whole operation was asked for.
        before: Bytes that it had done before the call that faulted.
    """
    fault = Fault()
    if lib.axp_take_fault(fault) != 0:
        raise AssertionError("an access failed with EFAULT and left no fault record")
    return FaultError(
        fault.address,
        ACCESSES[fault.access],
        REASONS[fault.reason],
        before + fault.transferred,
        size,
        fault.signal or None,
    )


injecting = False
"""Whether this process has ever injected faults: only then need anybody ask."""


def as_one(
    addr: int, size: int, access: MappingFlags, operation: Callable[..., _Result], *args: Any, **kwargs: Any
) -> _Result:
    """Return ``operation(...)``, into whose accesses, together, one fault may be injected: before the first of them.

    Raises:
        FaultError: It was.
    """
    # What is no span is refused by the operation itself.
    if injecting and addr >= 0 and 0 < size <= ADDRESS_MAX + 1 - addr and lib.axp_inject(addr, size, access):
        raise fault_error(size)
    return go_on(operation, *args, **kwargs)


def go_on(access: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
    """Return ``access(...)``, which goes on with an operation: no fault is injected into the rest of one."""
    return _holding(1, access, args, kwargs) if injecting else access(*args, **kwargs)


def interrupt(function: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
    """Return ``function(...)``, which is no part of the operation that is under way."""
    return _holding(0, function, args, kwargs) if injecting else function(*args, **kwargs)


def _holding(held: int, function: Callable[..., _Result], args: Any, kwargs: Any) -> _Result:
    outside = lib.axp_injection_held()
    try:
        lib.axp_hold_injection(held)
        return function(*args, **kwargs)
    finally:
        lib.axp_hold_injection(outside)


def check_status(status: int) -> None:
    """Raise the OSError that a negative status stands for."""
    if status != 0:
        raise OSError(-status, os.strerror(-status))


def install() -> None:
    """Put the fault handlers on top.

    Raises:
        OSError: The system refused.
    """
    check_status(lib.axp_install())


install()

if os.environ.get("AXPTR_FAIL_USERCOPY"):
    from ._injection import inject_from_environment

    inject_from_environment("AXPTR_FAIL_USERCOPY")
