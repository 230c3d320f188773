# SPDX-License-Identifier: MIT
"""Typed pointers to user memory: an address that is not trusted, and what is said to be there."""

from __future__ import annotations

import ctypes
from ctypes import alignment, c_char, c_char_p, c_wchar, c_wchar_p, sizeof
from functools import partial
from operator import index
from typing import Any, ClassVar, Generic, TypeVar, overload

from . import _native
from ._members import find_field, is_complete, pointed_type
from ._native import go_on, lib
from ._scalar import require_ctype
from .addr import VirtAddr
from .check import Layout, check_null_terminated, check_region
from .errors import EncodingError
from .flags import MappingFlags
from .space import SURE_SPACES, ProcessSpace, lend
from .uaccess import get_user
from .view import UserRef, UserSlice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _ctypes import _CData, _Pointer
    from collections.abc import Callable

    from typing_extensions import Self

    from .space import AddrSpaceProvider, Space

__all__ = ["UserConstPtr", "UserPtr"]

_T = TypeVar("_T")
_U = TypeVar("_U")
_Data = TypeVar("_Data", bound="_CData")

_PROCESS = ProcessSpace()
_LIMIT = 1 << 20
"""Elements that are searched for a terminator unless the caller says otherwise."""
_PROBED = 1 << 16
"""Bytes up to which pages are brought in by a probe: for many, one system call is faster."""


class _UserPointer(Generic[_T]):
    """What the two kinds of pointer have in common."""

    __slots__ = ("_address",)

    ACCESS_FLAGS: ClassVar[MappingFlags]
    """What ``get`` and its kin check for."""
    ctype: ClassVar[Any] = None
    """The type of what it points to."""
    _writable: ClassVar[bool]
    _access: ClassVar[int]
    """ACCESS_FLAGS, since an enumeration takes longer than an access."""
    _size: ClassVar[int]
    """0: it has none, or may get another one, and the long way is gone."""
    _align: ClassVar[int]
    _family: ClassVar[Any]
    """The class without a type that this one was made from."""
    _typed: ClassVar[dict[Any, Any]] = {}
    """The classes that were made from this one, by type."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.ctype is None:
            cls._family = cls
            cls._typed = {}
        else:
            cls._size = sizeof(cls.ctype) if is_complete(cls.ctype) else 0
            cls._align = alignment(cls.ctype) or 1

    if not TYPE_CHECKING:

        def __class_getitem__(cls, ctype):
            try:
                if cls.ctype is None:
                    return cls._typed[ctype]
            except (KeyError, TypeError):  # TypeError: a value, which has no hash
                pass
            return super().__class_getitem__(ctype) if isinstance(ctype, TypeVar) else cls._of(ctype)

    @classmethod
    def _of(cls, ctype: Any) -> Any:
        """Make the class of pointers to a type."""
        try:
            if cls.ctype is not None:
                raise TypeError("it has one")
            require_ctype(ctype)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}[{ctype!r}]: one ctypes type is required: {error}") from None
        name = f"{cls.__name__}[{ctype.__name__}]"
        body = {"__slots__": (), "ctype": ctype, "__doc__": cls.__doc__, "__module__": cls.__module__}
        return cls._typed.setdefault(ctype, type(name, (cls,), body))

    def __init__(self, address: int) -> None:
        if self.ctype is None:
            raise TypeError(f"say what it points to: {type(self).__name__}[c_int](address)")
        self._address = index(address)

    @property
    def address(self) -> VirtAddr:
        """The address, as it was given: nothing is checked before it is used."""
        return VirtAddr(self._address)

    def is_null(self) -> bool:
        """Return whether the address is 0."""
        return self._address == 0

    def nullable(self) -> Self | None:
        """Return the pointer, or None if it is null: for arguments that may be left out."""
        return None if self.is_null() else self

    def as_ptr(self) -> Any:
        """Return a plain ctypes pointer.  Unsafe: what is done through it is not guarded, and a bad address kills.

        Raises:
            ValueError: The address does not fit into a pointer.
        """
        if not 0 <= self._address <= _PROCESS.end - 1:
            raise ValueError(f"{self.address} is no address")
        return ctypes.cast(ctypes.c_void_p(self._address), ctypes.POINTER(self.ctype))

    def get(self, aspace: Space | AddrSpaceProvider | None = None) -> UserRef[_T]:
        """Check what it points to and return a reference to it.

        Args:
            aspace: The address space that has to allow the access; the whole process if it is left out.

        Raises:
            FaultError: MISALIGNED, REFUSED (the space does not allow it), OUT_OF_RANGE.
            OSError: The system could not bring the pages in.

        Source: axptr ``UserPtr::get``.
        """
        return self._when_checked(aspace, 1, self._access, self._refer)  # type: ignore[no-any-return]

    def _refer(self, space: Space) -> UserRef[_T]:
        return UserRef(self._address, self.ctype, space, self._writable)

    def _when_checked(self, aspace: Any, count: int, access: int, use: Callable[[Any], Any]) -> Any:
        """Return ``use(space)``, once the space is seen to allow an access to so many elements."""
        space = _PROCESS if aspace is None else aspace
        size = count * self._size
        if (
            not (_native.injecting and lib.axp_is_injecting())
            and type(space) in SURE_SPACES
            and not self._address % self._align
            and 0 < size <= _PROBED
            and space._is_ready(self._address, size, access)
        ):
            return use(space)
        return lend(space, partial(self._check, count, access, use))

    def _check(self, count: int, access: int, use: Callable[[Any], Any], space: Space) -> Any:
        check_region(space, self._address, Layout.of(self.ctype, count), MappingFlags(access))
        return go_on(use, space)

    # To mypy self must be able to be anything that is derived from this class; these are the two that there are.
    @overload
    def follow(  # type: ignore[misc]
        self: UserPtr[_Pointer[_Data]], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserPtr[_Data]: ...
    @overload
    def follow(  # type: ignore[misc]
        self: UserConstPtr[_Pointer[_Data]], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserConstPtr[_Data]: ...
    @overload
    def follow(  # type: ignore[misc]
        self: UserPtr[c_char_p], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserPtr[c_char]: ...
    @overload
    def follow(  # type: ignore[misc]
        self: UserConstPtr[c_char_p], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserConstPtr[c_char]: ...
    @overload
    def follow(  # type: ignore[misc]
        self: UserPtr[c_wchar_p], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserPtr[c_wchar]: ...
    @overload
    def follow(  # type: ignore[misc]
        self: UserConstPtr[c_wchar_p], aspace: Space | AddrSpaceProvider | None = None
    ) -> UserConstPtr[c_wchar]: ...
    def follow(self, aspace: Any = None) -> Any:
        """Read the pointer that it points to, and return that, typed and of the same kind: const stays const.

        A pointer to ``POINTER(T)`` gives one to ``T``, to ``c_char_p`` one to ``c_char``, to ``c_wchar_p`` one to
        ``c_wchar``.  It may be null.  Nothing is checked of it, and what it leads to is not touched.

        Args:
            aspace: The address space that has to allow the reading; the whole process if it is left out.

        Raises:
            TypeError: It does not point to such a type.  A ``c_void_p`` does not say what is there: cast to
                ``POINTER(T)`` first.
            FaultError: MISALIGNED, REFUSED (the space does not allow it), OUT_OF_RANGE; or the read faulted.
            OSError: The system could not bring the pages in.
        """
        target = pointed_type(self.ctype)

        def read(_space: Space) -> Any:
            return self._family[target](get_user(self._address, ctypes.c_void_p) or 0)

        return self._when_checked(aspace, 1, UserConstPtr._access, read)

    @overload
    def cast(self: UserPtr[Any], ctype: type[_U]) -> UserPtr[_U]: ...  # type: ignore[misc]
    @overload
    def cast(self: UserConstPtr[Any], ctype: type[_U]) -> UserConstPtr[_U]: ...  # type: ignore[misc]
    def cast(self, ctype: Any) -> Any:
        """Return a pointer to the same address as another type."""
        return self._family[ctype](self._address)

    @overload
    def field(self: UserPtr[Any], name: str) -> UserPtr[Any]: ...  # type: ignore[misc]
    @overload
    def field(self: UserConstPtr[Any], name: str) -> UserConstPtr[Any]: ...  # type: ignore[misc]
    def field(self, name: str) -> Any:
        """Return a pointer to a member of the structure or union.

        Raises:
            AttributeError: There is no such member.
            TypeError: It is a bit field.
        """
        field = find_field(self.ctype, name)
        if field is None:
            raise AttributeError(f"{self.ctype.__name__} has no field {name!r}")
        if len(field) > 2:
            raise TypeError(f"{name} is a bit field: no pointer leads to it")
        return self._family[field[1]](self._address + getattr(self.ctype, name).offset)

    @overload
    def get_as_slice(self, aspace: Space | AddrSpaceProvider | None, length: int) -> UserSlice[_T]: ...
    @overload
    def get_as_slice(self, length: int, /) -> UserSlice[_T]: ...
    @overload
    def get_as_slice(self, *, length: int) -> UserSlice[_T]: ...
    def get_as_slice(self, aspace: Any = None, length: int | None = None) -> UserSlice[_T]:
        """Check ``length`` elements and return a slice of them.

        ``get_as_slice(length)`` takes them from the whole process, ``get_as_slice(aspace, length)`` from a space.

        Raises:
            FaultError: MISALIGNED, REFUSED (the space does not allow it everywhere), OUT_OF_RANGE.
            OSError: The system could not bring the pages in.
            ValueError: ``length`` is negative.

        Source: axptr ``UserPtr::get_as_slice``.
        """
        if length is None:
            aspace, length = None, aspace
        count = index(length)

        def refer(space: Space) -> UserSlice[_T]:
            return UserSlice(self._address, self.ctype, count, space, self._writable)

        return self._when_checked(aspace, count, self._access, refer)  # type: ignore[no-any-return]

    def get_as_null_terminated(
        self, aspace: Space | AddrSpaceProvider | None = None, *, limit: int = _LIMIT
    ) -> UserSlice[_T]:
        """Return a slice of the elements before the first one that is all zero bytes.

        Args:
            aspace: The address space that has to allow the access; the whole process if it is left out.
            limit: The most elements to look at, the terminator included.  0 gives an empty slice.

        Raises:
            FaultError: MISALIGNED, REFUSED (the space does not allow it), or memory ends before the terminator.
            TooLongError: No terminator within ``limit`` elements.
            ValueError: ``limit`` is negative.

        Source: axptr ``UserPtr::get_as_null_terminated``.
        """

        def checked(space: Space) -> UserSlice[_T]:
            count = check_null_terminated(space, self._address, self.ctype, self.ACCESS_FLAGS, limit)
            return UserSlice(self._address, self.ctype, count, space, self._writable)

        return lend(_PROCESS if aspace is None else aspace, checked)

    def __bool__(self) -> bool:
        return not self.is_null()

    def __int__(self) -> int:
        return self._address

    def __add__(self, count: int) -> Self:
        """Return the pointer to the element that comes ``count`` elements later."""
        return type(self)(self._address + index(count) * sizeof(self.ctype))

    @overload
    def __sub__(self, other: int) -> Self: ...
    @overload
    def __sub__(self, other: Self) -> int: ...
    def __sub__(self, other: Any) -> Any:
        """Return the pointer to an element before, or how many elements lie between two pointers.

        Raises:
            ValueError: They are not a whole number of elements apart.
        """
        if not isinstance(other, _UserPointer):
            return self + -index(other)
        if other.ctype is not self.ctype:
            return NotImplemented
        size = sizeof(self.ctype)
        count, rest = divmod(self._address - other._address, size) if size else (0, 1)
        if rest:
            raise ValueError(f"{self!r} and {other!r} are not a whole number of elements apart")
        return count

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._address == self._address

    def __lt__(self, other: Self) -> bool:
        return self._address < other._address if type(other) is type(self) else NotImplemented

    def __le__(self, other: Self) -> bool:
        return self._address <= other._address if type(other) is type(self) else NotImplemented

    def __gt__(self, other: Self) -> bool:
        return self._address > other._address if type(other) is type(self) else NotImplemented

    def __ge__(self, other: Self) -> bool:
        return self._address >= other._address if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._address))

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self) is not self._family[self.ctype]:  # a class of somebody else's, which pickle finds by its name
            return type(self), (self._address,)
        return _rebuild, (self._family, self.ctype, self._address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address:#x})"


class UserPtr(_UserPointer[_T]):
    """A pointer through which user memory is read and written: ``UserPtr[c_int](address)``.

    Immutable; compares and hashes by type and address.  Making one checks nothing.

    Source: axptr ``UserPtr``.
    """

    __slots__ = ()
    ACCESS_FLAGS = MappingFlags.READ | MappingFlags.WRITE
    _writable = True
    _access = ACCESS_FLAGS.value


class UserConstPtr(_UserPointer[_T]):
    """A pointer through which user memory is only read: ``UserConstPtr[c_char](address)``.

    Immutable; compares and hashes by type and address.  Making one checks nothing.

    Source: axptr ``UserConstPtr``.
    """

    __slots__ = ()
    ACCESS_FLAGS = MappingFlags.READ
    _writable = False
    _access = ACCESS_FLAGS.value

    def get_as_str(
        self: UserConstPtr[c_char], aspace: Space | AddrSpaceProvider | None = None, *, limit: int = _LIMIT
    ) -> str:
        """Return the text before the terminator, which has to be UTF-8.

        Args:
            aspace: The address space that has to allow the access; the whole process if it is left out.
            limit: The most bytes to look at, the terminator included.  0 gives an empty text.

        Raises:
            TypeError: It does not point to ``c_char``.
            FaultError: MISALIGNED, REFUSED (the space does not allow it), or memory ends before the terminator.
            TooLongError: No terminator within ``limit`` bytes.
            ValueError: ``limit`` is negative.
            EncodingError: It is not UTF-8; raised from the UnicodeDecodeError.

        Source: axptr ``UserConstPtr::get_as_str``.
        """
        if self.ctype is not c_char:
            raise TypeError(f"text is made of c_char, not {self.ctype.__name__}")
        data = go_on(self.get_as_null_terminated(aspace, limit=limit).tobytes).partition(b"\0")[0]
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise EncodingError(self._address, str(error)) from error


def _rebuild(kind: Any, ctype: Any, address: int) -> Any:
    return kind[ctype](address)
