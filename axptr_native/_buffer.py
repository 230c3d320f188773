# SPDX-License-Identifier: MIT
"""Where the bytes of a Python object are."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_int, c_ssize_t, c_void_p, py_object

BYTES_HEADER = bytes.__basicsize__ - 1
"""From the start of a bytes object to its first byte; the header counts the terminator."""

# Finds the buffer and lets go of it in one call, which nothing can interrupt.  Stable ABI, deprecated because what it
# finds may move; it does not while a memoryview holds it.
_find = ctypes.PYFUNCTYPE(c_int, py_object, POINTER(c_void_p), POINTER(c_ssize_t))(
    ("PyObject_AsReadBuffer", ctypes.pythonapi)
)


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
    address, size = c_void_p(), c_ssize_t()
    _find(view, address, size)
    return address.value or 0, size.value
