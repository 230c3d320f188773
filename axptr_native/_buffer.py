# SPDX-License-Identifier: MIT
"""Where the bytes of a Python object are, and how many, which each implementation of Python tells in its own way."""

from __future__ import annotations

import ctypes
import sys
from _ctypes import CFuncPtr
from ctypes import POINTER, c_char, c_int, c_ssize_t, c_void_p, py_object

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

IS_CPYTHON = sys.implementation.name == "cpython"

CDATA: Any = ctypes._SimpleCData.__mro__[1]
"""What every ctypes type is derived from."""

sizeof: Callable[[Any], int]
"""Returns the size in bytes of a ctypes type's values; TypeError of what is none, or is only derived from."""
view_of: Callable[[Any], memoryview]
"""Returns a memoryview of whatever has a buffer, which keeps it."""

if IS_CPYTHON:
    sizeof, view_of = ctypes.sizeof, memoryview

    _BYTES_HEADER = bytes.__basicsize__ - 1
    """From the start of a bytes object to its first byte; the header counts the terminator."""

    # Finds the buffer and lets go of it in one call, which nothing can interrupt.  Stable ABI, deprecated because what
    # it finds may move; it does not while a memoryview holds it.
    _find = ctypes.PYFUNCTYPE(c_int, py_object, POINTER(c_void_p), POINTER(c_ssize_t))(
        ("PyObject_AsReadBuffer", ctypes.pythonapi)
    )

    def _locate(view: memoryview) -> tuple[int, int]:
        address, size = c_void_p(), c_ssize_t()
        _find(view, address, size)
        return address.value or 0, size.value

    def new_bytes(size: int) -> tuple[bytes | bytearray, int]:
        """Return zeros that are still to be filled, and their address.

        ``bytes()`` of them is what was filled in, at no cost.
        """
        data = bytes(size)  # nobody else has seen it yet, so it may still be written to
        return data, id(data) + _BYTES_HEADER

    def new_data(ctype: Any) -> Any:
        """Return a value of a ctypes type, of zeros, without what an ``__init__`` would ask for, or change."""
        return ctype.__new__(ctype)

else:
    import _cffi_backend

    _ffi = _cffi_backend.FFI()

    _ABSTRACT = {ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData, ctypes._Pointer, CFuncPtr, CDATA}

    def _sizeof(ctype: Any) -> int:
        if ctype in _ABSTRACT:  # which have one all the same, or it is a ValueError
            raise TypeError("this type has no size")
        return ctypes.sizeof(ctype)

    def _view_of(data: Any) -> memoryview:
        if not isinstance(data, CDATA):
            return memoryview(data)
        # PyPy's own does not keep the object; and it names the type of every field, without an end in a linked list.
        start = _ffi.gc(_ffi.cast("char *", ctypes.addressof(data)), lambda _, _kept=data: None)
        return memoryview(_ffi.buffer(start, ctypes.sizeof(data)))

    sizeof, view_of = _sizeof, _view_of

    def _locate(view: memoryview) -> tuple[int, int]:
        with _ffi.from_buffer(view) as found:  # from when on the bytes stay where they are
            return int(_ffi.cast("uintptr_t", found)), view.nbytes

    def new_bytes(size: int) -> tuple[bytes | bytearray, int]:
        """Return zeros that are still to be filled, and their address; ``bytes()`` of them is what was filled in."""
        if size > sys.maxsize // 2:
            raise MemoryError  # of which PyPy would make an empty one
        data = bytearray(size)  # bytes must not change, and would move
        return data, ctypes.addressof((c_char * size).from_buffer(data)) if size else 0

    def new_data(ctype: Any) -> Any:
        """Return a value of a ctypes type, of zeros, without what an ``__init__`` would ask for, or change."""
        return ctype.from_buffer_copy(bytes(ctypes.sizeof(ctype)))


def locate(view: memoryview, *, writable: bool) -> tuple[int, int]:
    """Return the address and the size in bytes of what a memoryview holds; valid until the view is released.

    ctypes itself tells the address of writable buffers only (``from_buffer``); copying the others would double a
    large mapping.

    Raises:
        TypeError: It is read-only, and ``writable`` is asked for.
        BufferError: It is not contiguous.
    """
    if writable and view.readonly:
        raise TypeError("a writable bytes-like object is required, not a read-only one")
    if not view.c_contiguous:
        raise BufferError("a contiguous buffer is required")
    return _locate(view)
