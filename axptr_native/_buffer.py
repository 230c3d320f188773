# SPDX-License-Identifier: MIT
"""Where the bytes of a Python object are."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_ssize_t, c_void_p, py_object
from types import TracebackType

BYTES_HEADER = bytes.__basicsize__ - 1
"""From the start of a bytes object to its first byte; the header counts the terminator."""

_SIMPLE, _WRITABLE = 0, 1


class _Buffer(ctypes.Structure):
    """CPython's ``Py_buffer``."""

    _fields_ = (
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_char_p),
        ("shape", c_void_p),
        ("strides", c_void_p),
        ("suboffsets", c_void_p),
        ("internal", c_void_p),
    )


_get_buffer = ctypes.PYFUNCTYPE(c_int, py_object, POINTER(_Buffer), c_int)(("PyObject_GetBuffer", ctypes.pythonapi))
_release_buffer = ctypes.PYFUNCTYPE(None, POINTER(_Buffer))(("PyBuffer_Release", ctypes.pythonapi))


class BorrowedBuffer:
    """A context in which an object's buffer stays where it is: ``address`` and ``size`` in bytes.

    ctypes itself lends only writable buffers (``from_buffer``); copying the others would double a large mapping.

    Raises:
        TypeError: ``obj`` has no buffer, or a read-only one where a writable one is needed.
        BufferError: The buffer is not contiguous.
    """

    __slots__ = ("_buffer",)

    def __init__(self, obj: object, *, writable: bool) -> None:
        self._buffer = _Buffer()
        if writable and memoryview(obj).readonly:  # type: ignore[arg-type]
            raise TypeError(f"a writable bytes-like object is required, not a read-only {type(obj).__name__!r}")
        _get_buffer(obj, self._buffer, _WRITABLE if writable else _SIMPLE)

    @property
    def address(self) -> int:
        return self._buffer.buf or 0

    @property
    def size(self) -> int:
        size: int = self._buffer.len
        return size

    def __enter__(self) -> BorrowedBuffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _release_buffer(self._buffer)
