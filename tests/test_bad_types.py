# SPDX-License-Identifier: MIT
"""Types and values that nobody should pass: every function answers before it touches anything."""

import ctypes
import enum
import gc
import weakref
from _ctypes import CFuncPtr
from collections.abc import Callable
from typing import Any

import pytest
from helpers_memory import Indexed
from helpers_python import let_go

from axptr_native import FaultError, UserPtr, VirtAddr, atomics, uaccess

SCRATCH = ctypes.create_string_buffer(64)
SCRATCH_AT = ctypes.addressof(SCRATCH)
FETCHES = (atomics.fetch_add, atomics.fetch_and, atomics.fetch_or, atomics.fetch_xor)


@pytest.fixture(autouse=True)
def _blank_scratch() -> None:
    SCRATCH.raw = bytes(64)


class Number(enum.IntEnum):
    FIVE = 5


class Pair(ctypes.Structure):
    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_int))


class Either(ctypes.Union):
    _fields_ = (("a", ctypes.c_int), ("b", ctypes.c_float))


@pytest.mark.parametrize(
    "wrong",
    [
        Pair,
        Either,
        ctypes.c_int * 2,
        ctypes.py_object,
        ctypes.c_longdouble,
        ctypes.Structure,
        ctypes._SimpleCData,
        ctypes._Pointer,
        int,
        str,
        object,
        type,
        None,
        4,
        "c_int",
        ctypes.c_int(4),
        [ctypes.c_int],
        {},
    ],
    ids=str,
)
def test_what_is_no_simple_type_is_refused(wrong: Any) -> None:
    """TypeError from every operation on words, before the address is touched."""
    for address in (SCRATCH_AT, 0):
        for operation in (uaccess.get_user, atomics.load):
            with pytest.raises(TypeError):
                operation(address, wrong)
        for write in (uaccess.put_user, atomics.store, atomics.exchange, *FETCHES):
            with pytest.raises(TypeError):
                write(address, wrong, 1)
        with pytest.raises(TypeError):
            atomics.compare_exchange(address, wrong, 1, 1)
    assert bytes(SCRATCH) == bytes(64)


@pytest.mark.parametrize("wrong", [int, str, object, None, 4, "c_int", [ctypes.c_int], bytes])
def test_what_is_no_ctype_is_no_structure(wrong: Any) -> None:
    """copy_struct_from_user raises TypeError, whether or not the memory is good."""
    for address in (SCRATCH_AT, 0):
        with pytest.raises(TypeError):
            uaccess.copy_struct_from_user(address, 8, wrong)


class Holder(ctypes.Structure):
    _fields_ = (("object", ctypes.py_object),)


class Nested(ctypes.Structure):
    _fields_ = (("count", ctypes.c_long), ("holders", Holder * 2))


@pytest.mark.parametrize("ctype", [ctypes.py_object, Holder, Nested, ctypes.py_object * 2], ids=str)
def test_no_object_is_made_from_untrusted_memory(ctype: type[Any]) -> None:
    """A type that holds Python objects is refused: looking at one would follow a wild pointer."""
    with pytest.raises(TypeError):
        uaccess.copy_struct_from_user(SCRATCH_AT, ctypes.sizeof(ctype), ctype)


@pytest.mark.parametrize(
    ("ctype", "value"),
    [
        (ctypes.c_int8, 128),
        (ctypes.c_int8, -129),
        (ctypes.c_uint8, 256),
        (ctypes.c_uint8, -1),
        (ctypes.c_int16, 2**15),
        (ctypes.c_uint16, 2**16),
        (ctypes.c_int32, 2**31),
        (ctypes.c_uint32, -1),
        (ctypes.c_int64, 2**63),
        (ctypes.c_uint64, 2**64),
        (ctypes.c_uint64, 2**70),
        (ctypes.c_void_p, 2**64),
        (ctypes.c_void_p, -1),
        (ctypes.c_char_p, 2**64 + 1),
        (ctypes.POINTER(ctypes.c_int), -1),
        (ctypes.c_int32.__ctype_be__, 2**31),
    ],
)
def test_a_value_that_does_not_fit_is_refused_unwritten(ctype: type[Any], value: int) -> None:
    """ValueError from put_user, store and exchange; the memory stays."""
    for operation in (uaccess.put_user, atomics.store, atomics.exchange):
        with pytest.raises(ValueError, match="does not fit"):
            operation(SCRATCH_AT, ctype, value)
    assert bytes(SCRATCH) == bytes(64)


@pytest.mark.parametrize(
    ("ctype", "value"),
    [
        (ctypes.c_int, 1.5),
        (ctypes.c_int, "1"),
        (ctypes.c_int, None),
        (ctypes.c_float, "1"),
        (ctypes.c_char, "a"),
        (ctypes.c_char, b"ab"),
        (ctypes.c_wchar, b"a"),
        (ctypes.c_wchar, "ab"),
        (ctypes.c_void_p, "a"),
        (ctypes.c_void_p, 1.0),
        (ctypes.c_char_p, b"text"),
        (ctypes.POINTER(ctypes.c_int), b"text"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_unwritten(ctype: type[Any], value: object) -> None:
    """TypeError from put_user, store and exchange; the memory stays."""
    for operation in (uaccess.put_user, atomics.store, atomics.exchange):
        with pytest.raises(TypeError):
            operation(SCRATCH_AT, ctype, value)
    assert bytes(SCRATCH) == bytes(64)


def test_integer_like_values_are_written() -> None:
    """What the ctypes type takes is put, __index__ included, and it is not compared as an object."""
    word = ctypes.c_int()
    for value in (Indexed(5), VirtAddr(5), Number.FIVE):
        for operation in (uaccess.put_user, atomics.store, atomics.exchange):
            word.value = 0
            operation(ctypes.addressof(word), ctypes.c_int, value)
            assert word.value == 5
    with pytest.raises(FaultError):
        uaccess.put_user(0, ctypes.c_int, Indexed(5))


ABSTRACT = [ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData, ctypes._Pointer, CFuncPtr]
NO_TYPES = [int, None, "c_int", 5, ctypes.c_int(3), (ctypes.c_int * 2)()]
TYPED: dict[str, Callable[[Any], object]] = {
    "get_user": lambda ctype: uaccess.get_user(0, ctype),
    "put_user": lambda ctype: uaccess.put_user(0, ctype, 1),
    "copy_struct_from_user": lambda ctype: uaccess.copy_struct_from_user(0, 8, ctype),
    "load": lambda ctype: atomics.load(0, ctype),
    "fetch_add": lambda ctype: atomics.fetch_add(0, ctype, 1),
    "UserPtr": lambda ctype: UserPtr[ctype],  # type: ignore[valid-type]
}


@pytest.mark.parametrize("name", TYPED)
def test_types_that_no_value_has_are_type_errors(name: str) -> None:
    """What is no ctypes type, and one that others are derived from, is TypeError that says so and touches nothing."""
    for abstract in ABSTRACT:
        with pytest.raises(TypeError, match=f"{abstract.__name__} is abstract"):
            TYPED[name](abstract)
    for wrong in NO_TYPES:
        with pytest.raises(TypeError, match="is not a ctypes type"):
            TYPED[name](wrong)


def test_a_type_of_ones_own_that_was_used_once_is_let_go() -> None:
    """A type of array of one's own is not kept by a copy of it."""

    class Once(ctypes.Array[ctypes.c_uint8]):
        _type_ = ctypes.c_uint8
        _length_ = 59

    assert bytes(uaccess.copy_struct_from_user(SCRATCH_AT, 59, Once)) == bytes(59)
    kept = weakref.ref(Once)
    del Once
    gc.collect()
    let_go()
    assert kept() is None


def test_types_that_were_used_once_are_let_go() -> None:
    """An array type, of which there is one for each length, is kept neither by a copy of it nor by a slice's."""
    ctype = ctypes.c_uint8 * 61
    uaccess.copy_struct_from_user(SCRATCH_AT, 61, ctype)
    UserPtr[ctypes.c_uint8](SCRATCH_AT).get_as_slice(61).copy()
    kept = weakref.ref(ctype)
    del ctype
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("ctype", [ctypes.c_int, Pair, ctypes.c_int * 3, ctypes.c_char])
def test_an_array_is_put_for_a_pointer_to_its_elements(ctype: Any) -> None:
    """Its address is written, as ctypes assigns it to a pointer field; for a pointer to another type it is refused."""
    pointer: Any = ctypes.POINTER(ctype)
    for array in ((ctype * 3)(), (ctype * 0)()):
        for put in (uaccess.put_user, atomics.store, atomics.exchange):
            SCRATCH.raw = bytes(64)
            put(SCRATCH_AT, pointer, array)
            assert uaccess.get_user(SCRATCH_AT, pointer) == ctypes.addressof(array)
            for other in (ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctype * 3), ctypes.c_void_p, ctypes.c_char_p):
                with pytest.raises(TypeError, match="holds an address"):
                    put(SCRATCH_AT, other, array)
        field: Any = UserPtr[pointer](SCRATCH_AT).get()
        field.value = None
        field.value = array
        assert field.value == ctypes.addressof(array)
