# SPDX-License-Identifier: MIT
"""What user pointers give: references and slices, whose every read and write is guarded again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from ctypes import addressof, sizeof
from operator import index
from typing import Any, Generic, TypeVar, overload

from ._buffer import new_data, view_of
from ._overlap import write_buffer
from ._scalar import refuse_objects
from .addr import VirtAddr
from .uaccess import copy_from_user, copy_from_user_into, get_user, put_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from .space import Space

__all__ = ["UserRef", "UserSlice"]

_T = TypeVar("_T")
_SIMPLE = (ctypes._SimpleCData, ctypes._Pointer, ctypes.CFUNCTYPE(None).__mro__[1])


class _Typed(Generic[_T]):
    """What references and slices have in common."""

    __slots__ = ("_address", "_ctype", "_space", "_writable")

    def __init__(self, address: int, ctype: type[_T], space: Space, writable: bool) -> None:
        self._address = address
        self._ctype = ctype
        self._space = space
        self._writable = writable

    @property
    def address(self) -> VirtAddr:
        """Where its first byte is."""
        return VirtAddr(self._address)

    @property
    def ctype(self) -> type[_T]:
        """The ctypes type of the value, or of each element."""
        return self._ctype


class UserRef(_Typed[_T]):
    """One value in user memory.

    It keeps its address space, so that nothing else moves into the addresses; once the space is closed, every access is
    FaultError.
    """

    __slots__ = ()

    @property
    def value(self) -> Any:
        """The value: of a simple type what ctypes makes of it, of a structure, union or array a copy.

        A pointer in a copy is copied, and what it points to is not: following it through ctypes is an unguarded access.
        Reading a simple type, and writing it, is one access.

        Raises:
            FaultError: It cannot be read, or written.
            TypeError: Written through a const pointer, or with a value of the wrong type; nothing was touched.  Of a
                type that holds objects, or a simple type that no access is as wide as: ``copy`` of a slice gives a
                ``c_longdouble``.
            ValueError: Written with a value that does not fit; nothing was touched.
        """
        ctype = self._ctype
        return get_user(self._address, ctype) if ctype in _scalars else _load(self._address, ctype)

    @value.setter
    def value(self, value: Any) -> None:
        _check_writable(self._writable)
        _store(self._address, self._ctype, value)

    def __repr__(self) -> str:
        return f"<UserRef[{self._ctype.__name__}] at {self.address}>"


class UserSlice(_Typed[_T], Sequence[Any]):
    """Values in user memory, one after the other.

    A sequence; through a ``UserPtr`` its elements can be set.  It keeps its address space, as ``UserRef`` does.
    """

    __slots__ = ("_length",)

    def __init__(self, address: int, ctype: type[_T], length: int, space: Space, writable: bool) -> None:
        super().__init__(address, ctype, space, writable)
        self._length = length

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return self._length * sizeof(self._ctype)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, position: int) -> Any: ...
    @overload
    def __getitem__(self, position: slice) -> UserSlice[_T]: ...
    def __getitem__(self, position: int | slice) -> Any:
        """Return an element, read now, or a slice of this slice, of which nothing is read yet.

        Raises:
            IndexError: There is no such element.
            ValueError: A slice with a step.
            FaultError: The element cannot be read.
        """
        if isinstance(position, slice):
            start, length = self._bounds(position)
            return UserSlice(self._at(start), self._ctype, length, self._space, self._writable)
        return _load(self._at(self._position(position)), self._ctype)

    def __setitem__(self, position: int | slice, value: Any) -> None:
        """Set an element, or with a buffer the bytes of all the elements of a slice.

        Raises:
            TypeError: A const slice, or a value of the wrong type; nothing was touched.
            IndexError: There is no such element.
            ValueError: The value does not fit, or the buffer has another size; nothing was touched.
            FaultError: It cannot be written.
        """
        _check_writable(self._writable)
        if not isinstance(position, slice):
            _store(self._at(self._position(position)), self._ctype, value)
            return
        start, length = self._bounds(position)
        with view_of(value) as source:
            if source.nbytes != length * sizeof(self._ctype):  # type: ignore[arg-type]
                raise ValueError(
                    f"{source.nbytes} bytes cannot take the place of {length} elements of {self._ctype.__name__}"
                )
            write_buffer(self._at(start), source)

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(self._length))

    def tobytes(self) -> bytes:
        """Return the bytes of all elements.

        Raises:
            FaultError: Not all of them can be read.
        """
        return copy_from_user(self._address, self.nbytes)

    def copy(self) -> ctypes.Array[Any]:
        """Return a copy of all elements, as a ctypes array of our own.

        Raises:
            FaultError: Not all of them can be read.
            TypeError: The elements hold Python objects.
        """
        return _load(self._address, self._ctype * self._length)  # type: ignore[no-any-return, operator]

    def write(self, data: ReadableBuffer) -> None:
        """Write the bytes of a buffer over the first elements.

        Raises:
            TypeError: A const slice; nothing was touched.
            ValueError: There is less room than that; nothing was touched.
            FaultError: Not all of it can be written; the first ``transferred`` bytes were.
        """
        _check_writable(self._writable)
        with view_of(data) as source:
            if source.nbytes > self.nbytes:
                raise ValueError(f"{source.nbytes} bytes do not fit into {self.nbytes}")
            write_buffer(self._address, source)

    def _position(self, position: int) -> int:
        at = index(position)
        at += self._length if at < 0 else 0
        if not 0 <= at < self._length:
            raise IndexError(f"element {position} of {self._length}")
        return at

    def _bounds(self, position: slice) -> tuple[int, int]:
        start, stop, step = position.indices(self._length)
        if step != 1:
            raise ValueError("a slice of user memory has no step")
        return start, max(0, stop - start)

    def _at(self, position: int) -> int:
        return self._address + position * sizeof(self._ctype)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"<UserSlice[{self._ctype.__name__}] of {self._length} at {self.address}>"


def _check_writable(writable: bool) -> None:
    if not writable:
        raise TypeError("made from a const pointer, so it cannot be written")


_scalars: set[Any] = set()
"""Those of the types met so far that are read and written in one access."""


def _is_scalar(ctype: Any) -> bool:
    if ctype not in _scalars and issubclass(ctype, _SIMPLE):
        _scalars.add(ctype)
    return ctype in _scalars


def _load(address: int, ctype: Any) -> Any:
    if _is_scalar(ctype):
        return get_user(address, ctype)
    refuse_objects(ctype)
    copy = new_data(ctype)
    copy_from_user_into(address, copy)
    return copy


def _store(address: int, ctype: Any, value: Any) -> None:
    if _is_scalar(ctype):
        put_user(address, ctype, value)
        return
    if not isinstance(value, ctype):
        raise TypeError(f"a {ctype.__name__} is required, not {type(value).__name__}")
    refuse_objects(ctype)
    # A derived structure, or one that was resized, is larger than the element that was checked.
    with memoryview((ctypes.c_char * sizeof(ctype)).from_address(addressof(value))) as source:
        write_buffer(address, source)
