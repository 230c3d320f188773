# SPDX-License-Identifier: MIT
"""What makes a guarded call: the library's functions that call others, their results, and what a thread lends."""

from __future__ import annotations

import ctypes
import sys
import threading
from _ctypes import CFuncPtr

from ._buffer import IS_CPYTHON
from ._memory import READ_WRITE, protect_memory, reserve_memory, unmap_memory
from ._native import ADDRESS_MAX, RESULTS, Call, Caller, check_status, go_on, lib
from ._scalar import is_swapped, require_ctype
from ._scans import count_elements
from .addr import PAGE_SIZE
from .uaccess import copy_from_user, strncpy_from_user

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

_SIGNAL_STACK = 64 * 1024


# ---- Callers. ----


class _Word(ctypes.c_uint64):
    """Of a derived type ctypes returns an instance, which holds all that came, instead of its value."""


class _Float(ctypes.c_float):
    pass


class _Double(ctypes.c_double):
    pass


class _LongDouble(ctypes.c_longdouble):
    pass


_RECEIVED = {"word": _Word, "float": _Float, "double": _Double, "long_double": _LongDouble}
_WORDS = "?cbBhHiIlLqQuPzZ"
_KINDS = dict.fromkeys(_WORDS, "word") | {"f": "float", "d": "double", "g": "long_double"}
"""How each of ctypes' simple types is returned."""

_callers: dict[tuple[int, str], tuple[Any, Caller]] = {}


def caller_of(function: Any) -> tuple[Any, Caller]:
    """Return what calls a function, and the limits it has.

    Raises:
        TypeError: Its ``restype`` is not supported.
    """
    # Of the same flags: those of errno are ctypes' own, and it honours them.
    key = type(function)._flags_, _kind_of(function.restype)
    if key not in _callers:
        flags, kind = key
        limits = Caller()
        check_status(lib.axp_caller_of(RESULTS.index(kind), limits))
        caller = type("_Caller", (CFuncPtr,), {"_flags_": flags, "_restype_": _RECEIVED[kind]})
        _callers[key] = caller(limits.address), limits
    return _callers[key]


# ---- Results. ----


def _is_ctype(restype: Any) -> bool:
    return isinstance(restype, type) and issubclass(restype, ctypes._SimpleCData.__mro__[1])


def _kind_of(restype: Any) -> str:
    if not _is_ctype(restype):
        return "word"  # nothing, or a callable, which gets an int
    require_ctype(restype)
    if issubclass(restype, (ctypes._Pointer, CFuncPtr)):
        return "word"
    is_known = issubclass(restype, ctypes._SimpleCData) and not is_swapped(restype)  # which ctypes itself cannot
    kind = _KINDS.get(restype._type_) if is_known else None
    if kind is None:
        raise TypeError(f"a guarded call does not return {restype.__name__}: a result is a scalar or a pointer")
    return kind


def convert_result(restype: Any, received: Any) -> Any:
    """Return what was received as ctypes returns a ``restype``, text read by guarded accesses.

    Not left to ctypes, which would do so after a fault as well, and call what belongs to the restype.
    """
    if restype is None:
        return None
    if not _is_ctype(restype):
        return restype(_from_word(ctypes.c_int, received).value)
    if restype in _TEXTS:
        address = _from_word(ctypes.c_void_p, received).value
        return None if address is None else _TEXTS[restype](address)
    result = _from_word(restype, received)
    if restype.__base__ is ctypes._SimpleCData:
        result = result.value
    check = getattr(restype, "_check_retval_", None)
    return result if check is None else check(result)


def _from_word(ctype: Any, received: Any) -> Any:
    offset = ctypes.sizeof(received) - ctypes.sizeof(ctype) if sys.byteorder == "big" else 0
    return ctype.from_buffer_copy(received, offset)


def _read_text(addr: int) -> bytes:
    return strncpy_from_user(addr, ADDRESS_MAX + 1 - addr)


def _read_wide_text(addr: int) -> str:
    width = ctypes.sizeof(ctypes.c_wchar)
    length = count_elements(addr, width, -(-(ADDRESS_MAX + 1 - addr) // width))
    text: Any = (ctypes.c_wchar * length).from_buffer_copy(go_on(copy_from_user, addr, length * width))
    return "".join(text)


_TEXTS: dict[Any, Any] = {ctypes.c_char_p: _read_text, ctypes.c_wchar_p: _read_wide_text}


# ---- The thread. ----


def describe_call(function: int | None) -> Call:
    """Return a call of the function at an address, to be made by this thread."""
    stack = _signal_stack()
    interpreter = _current_interpreter()
    return Call(
        function=function,
        stack_start=stack.start,
        stack_size=stack.size,
        running=_running,
        interpreter=interpreter,
        entries=None if _entries_at is None else interpreter + _entries_at,
    )


def _running_interpreter() -> int | None:
    """Return the address of a function that tells, inside a signal handler, which of Python's threads runs."""
    for name in ("PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet"):
        if hasattr(ctypes.pythonapi, name):
            return ctypes.cast(ctypes.pythonapi[name], ctypes.c_void_p).value
    return None


def _find_entries() -> int | None:
    """Return where in a thread's state the interpreter counts how often it was entered; None if that cannot be told.

    No function tells, so it is watched as it counts: what C does before it calls Python, done twice and undone.
    """
    enter = ctypes.PYFUNCTYPE(ctypes.c_int)(("PyGILState_Ensure", ctypes.pythonapi))
    leave = ctypes.PYFUNCTYPE(None, ctypes.c_int)(("PyGILState_Release", ctypes.pythonapi))
    own = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyGILState_GetThisThreadState", ctypes.pythonapi))
    state = _current_interpreter()
    if own() != state:  # an interpreter that was started inside this process: to enter would wait for ever
        return None
    counters: Any = ctypes.c_int * _STATE_INTS

    def look() -> list[int]:
        return list(counters.from_address(state))

    before = look()
    outer = enter()
    once = look()
    inner = enter()
    twice = look()
    leave(inner)
    leave(outer)
    after = look()
    found = [
        index
        for index, count in enumerate(before)
        if (once[index], twice[index], after[index]) == (count + 1, count + 2, count)
    ]
    return found[0] * ctypes.sizeof(ctypes.c_int) if len(found) == 1 else None


_STATE_INTS = 60
"""The part of a thread's state that is looked at: every version's is larger."""

if IS_CPYTHON:
    _current_interpreter = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThreadState_Get", ctypes.pythonapi))
    _running = _running_interpreter()
    _entries_at = _find_entries()


class _SignalStack:
    """Memory for a thread's signal handlers, with a page below it that nothing may touch."""

    def __init__(self) -> None:
        self.size = 0
        self._reserved = reserve_memory(PAGE_SIZE + _SIGNAL_STACK)
        self.size = _SIGNAL_STACK
        self.start = self._reserved + PAGE_SIZE
        protect_memory(self.start, self.size, READ_WRITE)

    def __del__(self, unmap: Any = unmap_memory, page: int = PAGE_SIZE) -> None:
        if self.size:
            unmap(self._reserved, page + self.size)


_thread = threading.local()


def _signal_stack() -> _SignalStack:
    """Return this thread's; it is up only during a call, and only where there is no other."""
    try:
        stack: _SignalStack = _thread.stack
    except AttributeError:
        stack = _thread.stack = _SignalStack()
    return stack
