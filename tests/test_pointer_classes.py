# SPDX-License-Identifier: MIT
"""Pointers as Python classes and values: their types, copies, and what is derived from them."""

import copy
import ctypes
import pickle
from ctypes import c_char, c_int, c_longlong
from typing import Any, TypeVar

import pytest
from helpers_memory import READ, WRITE
from test_ptr import FAMILIES, Base, Tagged

from axptr_native import UserConstPtr, UserPtr, VirtAddr

T = TypeVar("T")


@pytest.mark.parametrize(
    "wrong",
    [int, 3, None, "c_int", c_int(5), (c_int, c_int), ctypes.Structure, ctypes.Union, ctypes.Array, list[int], [c_int]],
)
def test_only_one_ctypes_type_can_be_pointed_to(wrong: Any) -> None:
    """Everything else is TypeError, when the type is made or cast, and so is a second type or none."""
    for family in FAMILIES:
        with pytest.raises(TypeError, match="one ctypes type"):
            family[wrong]
        with pytest.raises(TypeError, match="one ctypes type"):
            family[c_int](8).cast(wrong)
        with pytest.raises(TypeError, match="one ctypes type"):
            family[c_int][c_int]
        with pytest.raises(TypeError, match="what it points to"):
            family(8)
        for address in ("8", 8.0, None, b"8"):
            with pytest.raises(TypeError):
                family[c_int](address)


def test_pointers_are_values() -> None:
    """They compare, order and hash by kind, type and address, and refuse to be changed or ordered across types."""
    pointer: Any = UserPtr[c_int](0x1000)
    assert UserPtr[c_int] is UserPtr[c_int]
    assert pointer == UserPtr[c_int](VirtAddr(0x1000))
    assert {pointer: 1}[UserPtr[c_int](0x1000)] == 1
    others = (UserPtr[c_int](0x1004), UserPtr[c_longlong](0x1000), UserConstPtr[c_int](0x1000), 0x1000, None)
    assert all(pointer != other for other in others)
    assert len({pointer, *others}) == 6
    assert sorted([pointer + 2, pointer, pointer + 1]) == [pointer, pointer + 1, pointer + 2]
    assert pointer < pointer + 1 <= pointer + 1
    assert pointer + 1 > pointer >= pointer
    for other in (UserPtr[c_longlong](0x1000), UserConstPtr[c_int](0x1000), 0x1000):
        with pytest.raises(TypeError):
            assert pointer < other
    for name in ("address", "ctype", "ACCESS_FLAGS", "other"):
        with pytest.raises(AttributeError):
            setattr(pointer, name, 1)
    assert isinstance(pointer, UserPtr)
    assert not isinstance(pointer, UserConstPtr)
    assert pointer.ACCESS_FLAGS == READ | WRITE
    assert UserConstPtr.ACCESS_FLAGS == READ


@pytest.mark.parametrize("ctype", [c_int, c_char, Base, Tagged, ctypes.c_char_p])
def test_pointers_pickle_and_copy(ctype: type[Any]) -> None:
    """A copy equals its original and is of the same class, whatever the protocol."""
    for family in FAMILIES:
        pointer: Any = family[ctype](0x7F00_0000_1000)
        copies = [pickle.loads(pickle.dumps(pointer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
        for made in (*copies, copy.copy(pointer), copy.deepcopy(pointer)):
            assert made == pointer
            assert type(made) is type(pointer)
            assert hash(made) == hash(pointer)


def test_pointers_to_unnamed_types_copy() -> None:
    """Arrays and ctypes pointers, which pickle cannot find by name, can still be copied."""
    for ctype in (c_int * 3, ctypes.POINTER(c_int)):
        pointer: Any = UserPtr[ctype](16)  # type: ignore[valid-type]
        assert copy.copy(pointer) == copy.deepcopy(pointer) == pointer


class Tracked(UserPtr[T]):
    """A kind of one's own."""

    def trace(self) -> str:
        return f"trace {self.address}"


class NodePtr(UserConstPtr[Base]):
    """Pointers to one type, with a name of their own."""


def test_a_derived_kind_has_types_of_its_own() -> None:
    """Its typed pointers are its own, whichever was made first, and stay so when they move, are cast and lead on."""
    pointer: Any = Tracked[ctypes.c_int8](0x10)
    assert type(pointer) is not UserPtr[ctypes.c_int8]
    assert not isinstance(UserPtr[ctypes.c_int8](0x10), Tracked)
    assert Tracked[ctypes.c_int8] is Tracked[ctypes.c_int8]
    assert (pointer.trace(), repr(pointer)) == ("trace 0x10", "Tracked[c_byte](0x10)")
    assert isinstance(pointer, UserPtr)
    assert pointer.ACCESS_FLAGS == READ | WRITE
    for other in (pointer + 1, pointer.cast(c_longlong), pointer.cast(Base).field("first"), pointer.nullable()):
        assert isinstance(other, Tracked)
    word = ctypes.c_size_t(0x20)
    start: Any = Tracked[ctypes.c_size_t](ctypes.addressof(word))
    assert start.cast(ctypes.POINTER(c_int)).follow() == Tracked[c_int](0x20)
    for made in (copy.copy(pointer), copy.deepcopy(pointer), pickle.loads(pickle.dumps(pointer))):
        assert (type(made), made) == (type(pointer), pointer)


def test_a_class_derived_from_pointers_to_a_type_is_kept_by_copies() -> None:
    """Copying, pickling and moving keep it, and casting leaves it for the kind that it came from."""
    pointer = NodePtr(0x10)
    for made in (copy.copy(pointer), copy.deepcopy(pointer), pickle.loads(pickle.dumps(pointer)), pointer + 2 - 2):
        assert (type(made), made) == (NodePtr, pointer)
    assert pointer.cast(c_int) == UserConstPtr[c_int](0x10)
    assert pointer.field("first").ctype is ctypes.c_int32
    assert NodePtr(0x10) != UserConstPtr[Base](0x10)
    with pytest.raises(TypeError, match="one ctypes type is required: it has one"):
        NodePtr[c_int]  # type: ignore[misc]
