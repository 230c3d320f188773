# SPDX-License-Identifier: MIT
"""The arguments of a guarded call: converted as ctypes does, and refused where that would cut or corrupt."""

from __future__ import annotations

import ctypes
from _ctypes import CFuncPtr
from types import BuiltinMethodType

from ._buffer import CDATA
from ._native import ADDRESS_MAX, Caller
from ._scalar import is_swapped, scalar_of

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_CONVERTED = type(ctypes.byref(ctypes.c_int()))
"""What ctypes makes of an argument: its type has no other name."""

_KNOWN = (CDATA, _CONVERTED, int, bytes, str)
"""What ctypes passes by itself, beside None."""

_INTEGERS = tuple("bBhHiIlLqQP")
_FLOATS = tuple("fd")
_PASSED = (*"?cuzZ", *_INTEGERS, *_FLOATS)
"""ctypes' codes of what a guarded call passes; all that is an address has P."""

CALLBACK_REFUSED = "holds a callback into Python: to abandon that would corrupt the interpreter"

_BY_VALUE = "V"
_NOT_PASSED = ""  # of the other byte order: ctypes itself crashes
_LONGEST_CHAIN = 100


def name_of(function: Any) -> str:
    """Return what a foreign function is called in reports."""
    return (
        getattr(function, "__name__", None) or f"the function at {ctypes.cast(function, ctypes.c_void_p).value or 0:#x}"
    )


def convert_arguments(function: Any, args: Sequence[Any], limits: Caller) -> list[Any]:
    """Return what ctypes is to pass for the arguments of a function.

    Raises:
        TypeError: There are too few or too many, or one is of a type that is not supported.
        ValueError: An integer does not fit.
        ctypes.ArgumentError: ctypes cannot convert one.
    """
    argtypes = function.argtypes or ()
    if len(args) < len(argtypes):
        raise TypeError(f"{name_of(function)} takes {len(argtypes)} arguments or more, not {len(args)}")
    if len(args) > limits.arguments:
        raise TypeError(
            f"{name_of(function)}: a guarded call passes {limits.arguments} arguments at most, not {len(args)}"
        )
    passed = []
    floats = unnamed = 0
    for number, argument in enumerate(args, 1):
        argtype = argtypes[number - 1] if number <= len(argtypes) else None
        try:
            is_callback = holds_callback(argument)
            converted = argument if is_callback else _convert(argtype, argument)
            code = _NOT_PASSED if is_swapped(argtype) else _code_of(converted)
        except _DoesNotFitError as error:
            raise ValueError(f"argument {number} of {name_of(function)}: {error}") from None
        except Exception as error:
            raise ctypes.ArgumentError(f"argument {number}: {type(error).__name__}: {error}") from error
        if is_callback or (converted is not argument and holds_callback(converted)):
            raise TypeError(f"argument {number} of {name_of(function)} {CALLBACK_REFUSED}")
        if code not in _PASSED:
            kind = getattr(argtype or type(converted), "__name__", None) or repr(argtype)
            hint = "by value; byref() makes a pointer" if code == _BY_VALUE else "in a guarded call"
            raise TypeError(f"argument {number} of {name_of(function)}: {kind} cannot be passed {hint}")
        floats += code in _FLOATS
        unnamed += code in _FLOATS and argtype is None
        passed.append(converted)
    if floats > limits.floats:
        raise TypeError(f"{name_of(function)}: a guarded call passes at most {limits.floats} floats on this processor")
    if argtypes and unnamed > limits.variadic:  # without argtypes ctypes knows of no dots, either
        raise TypeError(f"{name_of(function)}: floats behind the argtypes cannot be passed on this processor")
    return passed


class _DoesNotFitError(ValueError):
    """An integer does not fit."""


def _convert(argtype: Any, argument: Any) -> Any:
    # A class's own from_param may mean something else by an integer, and by what stands for it.
    if argtype is not None and isinstance(argtype.from_param, BuiltinMethodType):
        _refuse_cut(argtype, _parameter_of(argument))  # which ends where ctypes would overflow the stack
    if argtype is not None:
        argument = argtype.from_param(argument)
    argument = _parameter_of(argument)
    if isinstance(argument, str):
        return ctypes.c_wchar_p(argument)  # which keeps the memory that ctypes makes for it: a result may point there
    if not isinstance(argument, int):
        return argument
    if not -(ADDRESS_MAX + 1) // 2 <= argument <= ADDRESS_MAX:
        raise _DoesNotFitError(f"{argument} does not fit a word")
    return ctypes.c_void_p(argument)  # an int ctypes would cut to a C int


def _refuse_cut(argtype: Any, argument: Any) -> None:
    """Refuse an integer of which ctypes would pass a part."""
    if isinstance(argument, int) and getattr(argtype, "_type_", None) in _INTEGERS:
        try:
            scalar_of(argtype).pack(argument)
        except ValueError as error:
            raise _DoesNotFitError(error) from None


def _parameter_of(argument: Any) -> Any:
    """Return what stands for an argument that ctypes does not know."""
    for _ in range(_LONGEST_CHAIN):
        if argument is None or isinstance(argument, _KNOWN) or not hasattr(argument, "_as_parameter_"):
            return argument
        argument = argument._as_parameter_
    raise RecursionError("_as_parameter_ leads nowhere")


def _code_of(argument: Any) -> str:
    """Return ctypes' code for how it passes what was converted."""
    if argument is None or isinstance(argument, (bytes, str, ctypes._Pointer, CFuncPtr, ctypes.Array)):
        return "P"
    if isinstance(argument, ctypes._SimpleCData):
        kind: Any = type(argument)
        return _NOT_PASSED if is_swapped(kind) else str(kind._type_)
    if isinstance(argument, CDATA):
        return _BY_VALUE
    if isinstance(argument, _CONVERTED):
        return repr(argument)[len("<cparam '")]
    if isinstance(argument, float):
        raise TypeError("a float needs an argtype, or to be a c_double or c_float")
    raise TypeError(f"Don't know how to convert {type(argument).__name__}")


def holds_callback(argument: Any) -> bool:
    """Return whether something holds what ctypes has made of a Python function, wherever in it that may be."""
    if not isinstance(argument, (CDATA, _CONVERTED)):
        return False
    if isinstance(argument, CDATA) and argument._objects is None and argument._b_base_ is None:
        return False
    seen: dict[int, Any] = {}  # and held, so that no address comes again
    held = [argument]
    while held:
        entry = held.pop()
        if id(entry) in seen:
            continue
        seen[id(entry)] = entry
        if type(entry).__name__ == "CThunkObject":
            return True
        if isinstance(entry, dict):
            held += entry.values()
        elif isinstance(entry, (tuple, list)):
            held += entry
        elif isinstance(entry, memoryview):
            held.append(entry.obj)
        elif isinstance(entry, (CDATA, _CONVERTED)):
            held += (getattr(entry, name, None) for name in ("_objects", "_obj", "_b_base_"))
    return False
