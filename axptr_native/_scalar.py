# SPDX-License-Identifier: MIT
"""ctypes simple types as words in memory: how wide they are, and what Python value they hold."""

from __future__ import annotations

import ctypes
import operator
import sys
from _ctypes import CFuncPtr

from ._buffer import CDATA, IS_CPYTHON, sizeof
from ._members import is_complete, parts_of

TYPE_CHECKING = False  # typing itself would take most of the package's import time
if TYPE_CHECKING:
    from typing import Any

WIDTHS = (1, 2, 4, 8)

_SIGNED, _UNSIGNED = "bhilq", "BHILQ"
_POINTER_BASES = (ctypes._Pointer, CFuncPtr)
_TEXT_POINTERS = "zZ"


class Scalar:
    """How values of a ctypes type are held.

    ``carrier`` is the type that holds them on our side: the type itself, or ``c_void_p`` for a pointer type, whose
    own ``value`` or ``contents`` would be an unguarded access to what it points to.
    """

    __slots__ = ("carrier", "ctype", "is_integer", "is_native_integer", "width")

    def __init__(self, ctype: type[Any], carrier: type[Any], *, is_integer: bool = False) -> None:
        self.ctype = ctype
        self.carrier = carrier
        self.width = ctypes.sizeof(ctype)
        self.is_integer = is_integer
        self.is_native_integer = is_integer and bytes(ctype(1)) == (1).to_bytes(self.width, sys.byteorder)

    def pack(self, value: Any) -> Any:
        """Return a carrier that holds ``value``.

        Raises:
            TypeError: ``value`` is of the wrong type.
            ValueError: ``value`` is a number that does not fit.
        """
        if self.carrier is ctypes.c_void_p:
            return self._pack_address(value)
        try:
            packed = self.carrier(value)
        except OverflowError as error:  # an int that no float comes near to
            raise ValueError(f"{self.ctype.__name__}: {error}") from None
        if self.is_integer and packed.value != operator.index(value):
            raise ValueError(f"{value} does not fit {self.ctype.__name__}")
        return packed

    def wrap(self, value: int) -> Any:
        """Return a carrier that holds the integer ``value`` modulo 2 to the power of its bits."""
        return self.carrier(value)

    def _pack_address(self, value: Any) -> ctypes.c_void_p:
        if isinstance(value, (*_POINTER_BASES, ctypes.c_char_p, ctypes.c_wchar_p, ctypes.c_void_p)):
            return ctypes.cast(value, ctypes.c_void_p)
        pointed = getattr(self.ctype, "_type_", None)
        if isinstance(value, ctypes.Array) and value._type_ is pointed:
            return ctypes.c_void_p(ctypes.addressof(value))
        if value is not None and not isinstance(value, int):
            raise TypeError(f"{self.ctype.__name__} holds an address: an int, None or a pointer, not {value!r}")
        packed = ctypes.c_void_p(value)
        if (packed.value or 0) != (value or 0):
            raise ValueError(f"{value} does not fit {self.ctype.__name__}")
        return packed


def scalar_of(ctype: Any) -> Scalar:
    """Return how values of ``ctype`` are held.

    Raises:
        TypeError: ``ctype`` is not a ctypes simple or pointer type of 1, 2, 4 or 8 bytes.
    """
    # A value instead of a type may have no hash.
    scalar = _known.get(ctype) if isinstance(ctype, type) else None
    if scalar is None:
        scalar = _known[ctype] = _examine(ctype)
    return scalar


_known: dict[Any, Scalar] = {}


def _examine(ctype: Any) -> Scalar:
    require_ctype(ctype)
    if issubclass(ctype, _POINTER_BASES):
        return Scalar(ctype, ctypes.c_void_p)
    if not issubclass(ctype, ctypes._SimpleCData):
        raise TypeError(
            f"{ctype.__name__} is not a ctypes simple type; copy_struct_from_user() reads structures and arrays"
        )
    width = ctypes.sizeof(ctype)
    code: str = ctype._type_
    refuse_objects(ctype)
    if width not in WIDTHS:
        raise TypeError(f"{ctype.__name__} has {width} bytes: no single access is that wide")
    if code in _TEXT_POINTERS or code == "P":
        return Scalar(ctype, ctypes.c_void_p)
    carrier = ctype if IS_CPYTHON or not is_swapped(ctype) else _swapped(ctype)
    return Scalar(ctype, carrier, is_integer=code in _SIGNED + _UNSIGNED)


def _swapped(ctype: Any) -> Any:
    """Return a type like one of the byte order that this machine does not have, whose sign and NaNs PyPy loses."""
    native = ctype.__ctype_le__ if sys.byteorder == "little" else ctype.__ctype_be__

    class Swapped(native):  # type: ignore[misc, valid-type]
        @property
        def value(self) -> Any:
            return native.from_buffer_copy(bytes(self)[::-1]).value

        @value.setter
        def value(self, value: Any) -> None:
            ctypes.memmove(ctypes.addressof(self), bytes(native(value))[::-1], ctypes.sizeof(native))

    return Swapped


def require_ctype(ctype: Any) -> None:
    """Refuse what is not a ctypes type that values can have.

    Raises:
        TypeError: ``ctype`` is none.
    """
    if not (isinstance(ctype, type) and issubclass(ctype, CDATA)):
        raise TypeError(f"{getattr(ctype, '__name__', None) or repr(ctype)} is not a ctypes type")
    try:
        sizeof(ctype)
    except TypeError:
        raise TypeError(f"{ctype.__name__} is abstract: a type that is derived from it is required") from None


def is_swapped(ctype: Any) -> bool:
    """Return whether a type is of the byte order that this machine does not have."""
    own, other = "__ctype_le__", "__ctype_be__"
    if sys.byteorder == "big":
        own, other = other, own
    return ctype is not None and getattr(ctype, own, None) is not ctype and getattr(ctype, other, None) is ctype


def refuse_objects(ctype: Any) -> None:
    """Refuse types that hold Python objects, anywhere in them.

    Raises:
        TypeError: ``ctype`` does: ctypes would take an address that is not trusted for an object.  Or it is no type.
    """
    if isinstance(ctype, type) and ctype in _without_objects:
        return
    require_ctype(ctype)
    if issubclass(ctype, ctypes.Array):
        refuse_objects(ctype._type_)  # and not noted: each length is a type of its own
        return
    if issubclass(ctype, ctypes._SimpleCData) and ctype._type_ == "O":
        raise TypeError("an object cannot be made from memory that is not trusted")
    for part in parts_of(ctype):
        refuse_objects(part)
    if is_complete(ctype):
        _without_objects.add(ctype)


_without_objects: set[Any] = set()
