# SPDX-License-Identifier: MIT
"""The hot functions as builtins: a call costs what one of a C extension costs, and not what one of ctypes does.

The library has them and links to no Python.  Here it is handed the functions of the interpreter that it needs, and a
builtin is made of each of its own, so that one library serves every CPython.  An interpreter without these functions
keeps the Python functions that the builtins stand for, which do the same through ctypes.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, c_char, c_char_p, c_int, c_size_t, c_ssize_t, c_uint32, c_uint64, c_void_p, py_object

from . import _paging
from ._buffer import IS_CPYTHON
from ._native import ACCESSES, REASONS, lib
from .addr import VirtAddr
from .errors import BAD_ADDRESS, FAULT_FIELDS, FaultError

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    _Function = TypeVar("_Function", bound=Callable[..., Any])

PYTHON_FUNCTIONS = (
    "PyBytes_FromStringAndSize",
    "PyBytes_AsString",
    "_PyBytes_Resize",
    "PyLong_AsSize_t",
    "PyLong_AsUnsignedLongLong",
    "PyLong_AsLongLong",
    "PyLong_AsUnsignedLongLongMask",
    "PyFloat_AsDouble",
    "PyLong_FromUnsignedLongLong",
    "PyLong_FromLongLong",
    "PyFloat_FromDouble",
    "PyBool_FromLong",
    "PyObject_GetBuffer",
    "PyBuffer_Release",
    "PyObject_Type",
    "PySlice_Unpack",
    "PySlice_AdjustIndices",
    "PyErr_Occurred",
    "PyErr_ExceptionMatches",
    "PyErr_Clear",
    "PyErr_SetObject",
    "PyEval_SaveThread",
    "PyEval_RestoreThread",
    "Py_IncRef",
    "Py_DecRef",
    "PyObject_CallFunctionObjArgs",
    "PyTuple_Pack",
    "PyObject_Vectorcall",
)
"""``axp_python``."""

# Up to 3.10 PyObject_Vectorcall is no function that a library can call.  This one is, for functions written in Python.
_OLDER_NAMES = {"PyObject_Vectorcall": "_PyFunction_Vectorcall"}

_SIGNED, _UNSIGNED, _FLOAT, _TRUTH, _BYTE, _ADDRESS = range(1, 7)
_WORD_TYPES: tuple[tuple[Any, int], ...] = (
    (ctypes.c_uint64, _UNSIGNED),
    (ctypes.c_int32, _SIGNED),
    (ctypes.c_uint32, _UNSIGNED),
    (ctypes.c_void_p, _ADDRESS),
    (ctypes.c_uint8, _UNSIGNED),
    (ctypes.c_int64, _SIGNED),
    (ctypes.c_uint16, _UNSIGNED),
    (ctypes.c_int16, _SIGNED),
    (ctypes.c_int8, _SIGNED),
    (ctypes.c_char, _BYTE),
    (ctypes.c_double, _FLOAT),
    (ctypes.c_float, _FLOAT),
    (ctypes.c_bool, _TRUTH),
    # The other names of the integers: where long has 4 bytes, it is a type of its own beside int.
    (ctypes.c_long, _SIGNED),
    (ctypes.c_ulong, _UNSIGNED),
)


_REFUSALS = (TypeError, ValueError, OverflowError, MemoryError, BufferError)
"""What the interpreter itself says to arguments, so that the Python function is asked."""


class WordType(ctypes.Structure):
    _fields_ = (("ctype", c_void_p), ("kind", c_uint32), ("width", c_uint32))


class Builtins(ctypes.Structure):
    """``axp_builtins``."""

    _fields_ = (
        ("functions", c_void_p * 19),
        ("fault_error", c_void_p),
        ("make_os_error", c_void_p),
        ("init_os_error", c_void_p),
        ("no_arguments", c_void_p),
        ("bad_address", c_void_p),
        ("virt_addr", c_void_p),
        ("make_int", c_void_p),
        ("fault_fields", c_size_t * 6),
        ("resolve", c_void_p),
        ("accesses", c_void_p * 8),
        ("reasons", c_void_p * 16),
        ("slice_type", c_void_p),
        ("refusals", c_void_p),
        ("none", c_void_p),
        ("paged_start", c_uint64),
        ("paged_end", c_uint64),
        ("word_types", WordType * 17),
    )


class _ModuleDefinition(ctypes.Structure):
    """``PyModuleDef``."""

    _fields_ = (
        ("object", c_char * getattr(object, "__basicsize__", 0)),  # which not every Python says
        ("initialize", c_void_p),
        ("index", c_ssize_t),
        ("copy", c_void_p),
        ("name", c_char_p),
        ("doc", c_char_p),
        ("size", c_ssize_t),
        ("others", c_void_p * 5),
    )


class _MethodDefinition(ctypes.Structure):
    """``PyMethodDef``."""

    _fields_ = (("name", c_char_p), ("function", c_void_p), ("flags", c_int), ("doc", c_char_p))


_API_VERSION = 1013
_TP_INIT, _TP_NEW = 60, 65
_METH_FASTCALL_KEYWORDS = 0x0080 | 0x0002


class _Maker:
    """Makes the builtins of this import of the package."""

    def __init__(self) -> None:
        api = ctypes.pythonapi
        names = [name if hasattr(api, name) else _OLDER_NAMES.get(name, name) for name in PYTHON_FUNCTIONS]
        functions = (c_void_p * len(names))(*(ctypes.cast(api[name], c_void_p).value for name in names))
        self._new_builtin = ctypes.PYFUNCTYPE(py_object, POINTER(_MethodDefinition), py_object, py_object)(
            ("PyCFunction_NewEx", api)
        )
        new_module = ctypes.PYFUNCTYPE(py_object, POINTER(_ModuleDefinition), c_int)(("PyModule_Create2", api))
        state_of = ctypes.PYFUNCTYPE(c_void_p, py_object)(("PyModule_GetState", api))
        self._hold = ctypes.PYFUNCTYPE(None, py_object)(("Py_IncRef", api))
        definition = self._keep(_ModuleDefinition(name=b"axptr_native", size=ctypes.sizeof(Builtins)))
        self._module = self._keep(new_module(definition, _API_VERSION))
        self.state = Builtins.from_address(state_of(self._module))
        offset = _offset_of(ctypes.addressof(self.state), self._module)
        if lib.axp_bind_python(functions, ctypes.sizeof(functions), ctypes.sizeof(Builtins), offset) != 0:
            raise AttributeError("the library has other builtins than this package knows")
        objects = {
            "fault_error": FaultError,
            "no_arguments": (),
            "bad_address": BAD_ADDRESS,
            "virt_addr": VirtAddr,
            "resolve": _resolve,
            "slice_type": slice,
            "refusals": _REFUSALS,
            "none": None,
        }
        for field, value in objects.items():
            setattr(self.state, field, id(self._keep(value)))
        slot_of = ctypes.PYFUNCTYPE(c_void_p, py_object, c_int)(("PyType_GetSlot", api))
        self.state.make_os_error, self.state.init_os_error = slot_of(OSError, _TP_NEW), slot_of(OSError, _TP_INIT)
        self.state.make_int = slot_of(int, _TP_NEW)
        example = FaultError(0, *FAULT_FIELDS[1:])  # type: ignore[arg-type]  # with values that are like no other
        for number, name in enumerate(FAULT_FIELDS):
            self.state.fault_fields[number] = _offset_of(id(getattr(example, name)), example)
        for known, table in ((self.state.accesses, ACCESSES), (self.state.reasons, REASONS)):
            for number, member in table.items():
                known[number] = id(self._keep(member))
        for word_type, (ctype, kind) in zip(self.state.word_types, _WORD_TYPES, strict=False):
            word_type.ctype, word_type.kind = id(self._keep(ctype)), kind
            word_type.width = ctypes.sizeof(ctype)
        self._functions: dict[str, tuple[int, int]] = {}
        function = c_size_t()
        while name := lib.axp_builtin_at(len(self._functions), ctypes.addressof(function)):
            self._functions[name.decode()] = len(self._functions), function.value

    def make(self, function: _Function) -> _Function:
        """Return the builtin that stands for a Python function."""
        index, address = self._functions[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"]
        self.state.functions[index] = id(self._keep(function))
        definition = _MethodDefinition(
            function.__name__.encode(), address, _METH_FASTCALL_KEYWORDS, _documentation(function).encode()
        )
        made: _Function = self._new_builtin(self._keep(definition), self._module, function.__module__)
        return made

    def _keep(self, kept: Any) -> Any:
        """Keep an object for good: to the end of the interpreter somebody may call a builtin."""
        self._hold(kept)
        return kept


def _offset_of(word: int, holder: object) -> int:
    """Return where in an object a word is: found by looking, it needs no knowledge of an interpreter's structures."""
    size = type(holder).__basicsize__
    words = (c_void_p * (size // ctypes.sizeof(c_void_p))).from_address(id(holder))
    places = [place for place, found in enumerate(words) if found == word]
    if len(places) != 1:
        raise AttributeError(f"a {type(holder).__name__} of this interpreter is not what was expected")
    return places[0] * ctypes.sizeof(c_void_p)


def _resolve(error: FaultError) -> FaultError | None:
    return error if _paging.resolver is None else _paging.resolver(error)


def _documentation(function: Any) -> str:
    """Return a docstring as a builtin has it: the signature first, for inspect and help()."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    parameters = list(names[: code.co_argcount])
    if code.co_kwonlyargcount:
        parameters.append("*")
        parameters += (f"{name}={function.__kwdefaults__[name]!r}" for name in names[code.co_argcount :])
    return f"{function.__name__}({', '.join(parameters)})\n--\n\n{function.__doc__ or ''}"


def _make_maker() -> tuple[_Maker | None, str]:
    if os.environ.get("AXPTR_CALLS") == "ctypes":
        return None, "ctypes, as AXPTR_CALLS asks for"
    if not IS_CPYTHON:
        return None, "ctypes, as this Python is not CPython"
    try:
        return _Maker(), "builtins"
    except (AttributeError, TypeError) as error:  # what ctypes says of a function that is not there
        return None, f"ctypes: {error}"


_maker, call_path = _make_maker()


def builtin(function: _Function) -> _Function:
    """Return the builtin that stands for a function, or the function itself where there is none."""
    return function if _maker is None else _maker.make(function)


def expect_paging(start: int, end: int) -> None:
    """Have faults in a range resolved from now on: there may be memory that is paged in on demand."""
    if _maker is not None:
        _maker.state.paged_start, _maker.state.paged_end = start, end
