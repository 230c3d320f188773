# SPDX-License-Identifier: MIT
"""What pointers give: references and slices as values, as sequences, and after their memory is gone."""

import array
import ctypes
import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from ctypes import c_bool, c_char, c_double, c_int32, c_longdouble, c_uint8, py_object, sizeof
from typing import Any, ClassVar

import pytest
from helpers_examples import examples
from helpers_memory import READ, WRITE, good_memory, pattern, peek, poke
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultError,
    FaultReason,
    GuardedView,
    UserConstPtr,
    UserPtr,
    UserRef,
    UserSlice,
    uaccess,
)

checked = examples(60)
NUMBERS = [5, -1, 7, 5, 0, 2**31 - 1, -(2**31), 5]


class Point(ctypes.Structure):
    _fields_: ClassVar[Any] = (("x", c_int32), ("y", c_int32))


class Point3(Point):
    _fields_ = (("z", c_int32),)


class Holder(ctypes.Structure):
    _fields_ = (("number", c_int32), ("thing", py_object))


@pytest.fixture
def at() -> Iterator[int]:
    """The address of NUMBERS as 32-bit integers, in the middle of a good page of 0xaa bytes."""
    with good_memory(2) as start:
        poke(start, b"\xaa" * PAGE_SIZE)
        poke(start + 64, array.array("i", NUMBERS).tobytes())
        yield start + 64


@pytest.fixture
def elements(at: int) -> UserSlice[c_int32]:
    """A slice of NUMBERS."""
    return UserPtr[c_int32](at).get_as_slice(len(NUMBERS))


def numbers_at(at: int, count: int = len(NUMBERS)) -> list[int]:
    return list(array.array("i", peek(at, 4 * count)))


def refused_untouched(at: int, error: type[Exception], call: Callable[..., object], *args: object) -> None:
    """Check that the call raises, and that no byte around the elements changed."""
    before = peek(at - 64, 512)
    with pytest.raises(error):
        call(*args)
    assert peek(at - 64, 512) == before


def test_a_slice_is_a_sequence(elements: UserSlice[c_int32]) -> None:
    """Length, positions, membership, iteration, reversal, count and index are those of a list."""
    assert isinstance(elements, Sequence)
    assert len(elements) == len(NUMBERS)
    assert list(elements) == NUMBERS
    assert list(reversed(elements)) == NUMBERS[::-1]
    assert [elements[i] for i in range(-8, 8)] == NUMBERS + NUMBERS
    assert 7 in elements
    assert 8 not in elements
    assert (elements.count(5), elements.index(5), elements.index(5, 1), elements.index(7, 1, 3)) == (3, 0, 3, 2)
    with pytest.raises(ValueError):  # noqa: PT011 -- the words are the standard library's
        elements.index(8)
    for position in (8, -9, 1 << 70):
        with pytest.raises(IndexError):
            elements[position]
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            elements[wrong]
    assert elements.nbytes == 32
    assert elements.ctype is c_int32


def test_an_empty_slice_is_one_too(at: int) -> None:
    """It has no elements, is false, and gives and takes no bytes."""
    empty = UserPtr[c_int32](at).get_as_slice(0)
    assert (len(empty), bool(empty), list(empty), empty.tobytes(), list(empty.copy())) == (0, False, [], b"", [])
    empty.write(b"")
    empty[:] = b""
    assert list(empty[1:5]) == []
    with pytest.raises(IndexError):
        empty[0]
    refused_untouched(at, ValueError, empty.write, b"x")


@checked
@given(st.slices(len(NUMBERS)), st.slices(len(NUMBERS)))
def test_slices_of_slices_are_those_of_a_list(first: slice, second: slice) -> None:
    """Without a step they hold the same elements at the right address; with one they are ValueError."""
    with good_memory(1) as start:
        poke(start, array.array("i", NUMBERS).tobytes())
        elements = UserPtr[c_int32](start).get_as_slice(len(NUMBERS))
        for cut in (first, second):
            if cut.indices(len(elements))[2] != 1:
                with pytest.raises(ValueError, match="step"):
                    elements[cut]
                return
        part = elements[first][second]
        assert list(part) == NUMBERS[first][second]
        assert part.tobytes() == array.array("i", NUMBERS[first][second]).tobytes()
        assert isinstance(part, UserSlice)


def test_slicing_reads_nothing(at: int) -> None:
    """A slice of bad memory is made, and faults only when an element is read."""
    bad = UserPtr[c_int32](at - 64 + 2 * PAGE_SIZE - 4).get_as_slice(1)
    assert bad[0] == 0
    with AddrSpace(PAGE_SIZE) as space:
        space.map_alloc(space.base, PAGE_SIZE, READ | WRITE)
        elements = UserPtr[c_int32](space.base).get_as_slice(space, 8)
    part = elements[2:][1:3]
    assert (len(part), part.address) == (2, space.base + 12)
    with pytest.raises(FaultError) as raised:
        part[1]
    assert raised.value.address == space.base + 16


def test_elements_are_set_one_by_one(at: int, elements: UserSlice[c_int32]) -> None:
    """A position from either end sets that element and no other."""
    elements[1], elements[-1] = 11, 22
    expected = [*NUMBERS]
    expected[1], expected[-1] = 11, 22
    assert numbers_at(at) == expected
    assert peek(at - 64, 64) == peek(at + 32, 64) == b"\xaa" * 64
    wrong: Any
    for wrong in ("5", 5.0, None, [5]):
        refused_untouched(at, TypeError, elements.__setitem__, 0, wrong)
    for wrong in (1 << 31, -(1 << 31) - 1, 1 << 70):
        refused_untouched(at, ValueError, elements.__setitem__, 0, wrong)
    refused_untouched(at, IndexError, elements.__setitem__, 8, 5)
    refused_untouched(at, IndexError, elements.__setitem__, -9, 5)


@checked
@given(st.integers(-10, 10), st.integers(-10, 10), st.integers(0, 40))
def test_slice_assignment_takes_exactly_its_bytes(first: int, last: int, size: int) -> None:
    """A buffer of the slice's size replaces it; of any other size it is ValueError, and nothing is touched."""
    with good_memory(1) as start:
        at = start + 64
        poke(at, array.array("i", NUMBERS).tobytes())
        elements = UserPtr[c_int32](at).get_as_slice(len(NUMBERS))
        whole = bytearray(array.array("i", NUMBERS).tobytes())
        low, high, _ = slice(first, last).indices(len(NUMBERS))
        exact = 4 * max(0, high - low)
        if size != exact:
            refused_untouched(at, ValueError, elements.__setitem__, slice(first, last), pattern(size))
        elements[first:last] = pattern(exact)
        whole[4 * low : 4 * low + exact] = pattern(exact)
        assert peek(at - 64, 512) == (bytes(64) + whole).ljust(512, b"\0")


def test_slice_assignment_takes_buffers_only(at: int, elements: UserSlice[c_int32]) -> None:
    """Arrays of wider items count in bytes; lists, text, slices of user memory, gaps and steps are refused."""
    elements[2:4] = array.array("q", [-1])
    assert numbers_at(at)[1:5] == [-1, -1, -1, 0]
    wrong: Any
    for wrong in ([1, 2], "12345678", 5, elements[4:6]):
        refused_untouched(at, TypeError, elements.__setitem__, slice(0, 2), wrong)
    gaps = memoryview(bytes(16))[::2]
    refused_untouched(at, BufferError, elements.__setitem__, slice(0, 2), gaps)
    refused_untouched(at, BufferError, elements.write, gaps)
    refused_untouched(at, ValueError, elements.__setitem__, slice(0, 4, 2), bytes(8))


def test_write_puts_a_buffer_over_the_first_elements(at: int, elements: UserSlice[c_int32]) -> None:
    """Any number of bytes up to the size of the slice is written, and not one more."""
    for size in (0, 1, 5, 31, 32):
        poke(at, bytes(32))
        elements.write(memoryview(pattern(size)))
        assert peek(at, 64) == pattern(size).ljust(32, b"\0") + b"\xaa" * 32
    refused_untouched(at, ValueError, elements.write, bytes(33))
    refused_untouched(at, ValueError, elements[:2].write, bytes(9))


def test_copies_are_ones_own(at: int, elements: UserSlice[c_int32]) -> None:
    """copy() and a structure's value do not change with user memory, nor does it with them."""
    made = elements.copy()
    point = UserPtr[Point](at).get().value
    poke(at, bytes(32))
    assert list(made) == NUMBERS
    assert (point.x, point.y) == (5, -1)
    made[0], point.x = 1, 1
    assert numbers_at(at) == [0] * 8


def test_const_refuses_writes_before_anything_is_touched(at: int) -> None:
    """Every way to write through a const pointer is TypeError, also with wrong values and without the memory."""
    with AddrSpace(PAGE_SIZE) as space:
        space.map_alloc(space.base, PAGE_SIZE, READ)
        gone = UserConstPtr[c_int32](space.base).get_as_slice(space, 8)
        gone_ref = UserConstPtr[c_int32](space.base).get(space)
    there = UserConstPtr[c_int32](at).get_as_slice(8)
    for elements, ref in ((there, UserConstPtr[c_int32](at).get()), (gone, gone_ref)):
        value: object
        for value in (5, "wrong"):
            refused_untouched(at, TypeError, setattr, ref, "value", value)
        for position, value in ((0, 5), (99, 5), (slice(0, 1), bytes(4)), (slice(0, 1), bytes(5))):
            refused_untouched(at, TypeError, elements.__setitem__, position, value)
            refused_untouched(at, TypeError, elements[2:4].__setitem__, position, value)
        for data in (b"x", b"", bytes(999)):
            refused_untouched(at, TypeError, elements.write, data)


def test_a_structure_is_written_as_its_own_type_only(at: int, elements: UserSlice[c_int32]) -> None:
    """A structure of the type is written whole; another type, a tuple or a dictionary is TypeError."""
    ref = UserPtr[Point](at).get()
    ref.value = Point(1, 2)
    assert numbers_at(at) == [1, 2, *NUMBERS[2:]]
    wrong: Any
    for wrong in ((1, 2), {"x": 1}, bytes(8), (c_int32 * 2)(1, 2), 5, None):
        refused_untouched(at, TypeError, setattr, ref, "value", wrong)
    pointer: Any = UserPtr[c_int32 * 2]  # type: ignore[misc]
    table = pointer(at).get_as_slice(4)
    table[1] = (c_int32 * 2)(8, 9)
    assert list(elements) == [1, 2, 8, 9, *NUMBERS[4:]]
    refused_untouched(at, TypeError, table.__setitem__, 1, (c_int32 * 3)(1, 2, 3))


class Node(ctypes.Structure):
    """One that leads to its own kind, and has bit fields."""


Node._fields_ = (
    ("next", ctypes.POINTER(Node)),
    ("number", c_int32),
    ("low", c_int32, 5),
    ("high", c_int32, 27),
)


def test_a_structure_that_leads_to_its_own_kind_is_a_value(at: int) -> None:
    """It is read, copied and written like any other, and so are a union and an array of it."""

    class Either(ctypes.Union):
        _fields_ = (("node", Node), ("raw", c_uint8 * sizeof(Node)))

    def content(value: Any) -> bytes:
        return ctypes.string_at(ctypes.addressof(value), sizeof(value))

    for ctype in (Node, Either, Node * 2, Node * 2 * 2):
        size = sizeof(ctype)
        pointer: Any = UserPtr[ctype](at)  # type: ignore[valid-type]
        value = ctype.from_buffer_copy(pattern(size))
        pointer.get().value = value
        assert peek(at, size + 8) == pattern(size) + peek(at + size, 8)
        assert content(pointer.get().value) == content(pointer.get_as_slice(1)[0]) == pattern(size)
        uaccess.copy_to_user(at, ctype())
        assert peek(at, size) == bytes(size)
        pointer.get_as_slice(1).write(value)
        assert GuardedView(value)[:] == pattern(size) == peek(at, size)
        empty = ctype()
        uaccess.copy_from_user_into(at, empty)
        assert content(empty) == pattern(size)


def test_an_object_of_a_derived_type_does_not_spill_over(at: int) -> None:
    """Of a derived structure, which has more fields, only the element's own bytes are written."""
    ref = UserPtr[Point](at).get()
    ref.value = Point3(1, 2, 3)
    assert numbers_at(at) == [1, 2, *NUMBERS[2:]]


def test_a_resized_object_of_the_type_does_not_spill_over(at: int) -> None:
    """Of one that was made larger than its type, only the element's own bytes are written."""
    grown = Point(3, 4)
    ctypes.resize(grown, 24)
    UserPtr[Point](at).get_as_slice(2)[1] = grown
    assert numbers_at(at) == [*NUMBERS[:2], 3, 4, *NUMBERS[4:]]


def test_objects_are_never_made_from_user_memory(at: int) -> None:
    """py_object, and what holds one, is TypeError to read, copy and write; its bytes can be read."""
    for ctype in (py_object, Holder, py_object * 2):
        pointer: Any = UserPtr[ctype](at)  # type: ignore[valid-type]
        refused_untouched(at, TypeError, getattr, pointer.get(), "value")
        refused_untouched(at, TypeError, pointer.get_as_slice(2).__getitem__, 1)
        refused_untouched(at, TypeError, pointer.get_as_slice(2).copy)
        refused_untouched(at, TypeError, setattr, pointer.get(), "value", ctype())
        assert pointer.get_as_slice(1).tobytes() == peek(at, sizeof(ctype))


def test_a_long_double_is_too_wide_for_one_access(at: int) -> None:
    """Its value is TypeError, and a copy of a slice holds it."""
    poke(at, bytes(c_longdouble(1.5)))
    pointer = UserPtr[c_longdouble](at)
    refused_untouched(at, TypeError, getattr, pointer.get(), "value")
    assert pointer.get_as_slice(1).copy()[0] == 1.5


def test_values_are_what_ctypes_makes_of_them(at: int) -> None:
    """A char is a byte, a bool any byte but zero, and a double survives with its sign."""
    poke(at, b"\5")  # the first byte in any order
    assert UserPtr[c_char](at).get().value == b"\5"
    assert UserPtr[c_uint8](at).get().value == 5
    assert UserPtr[c_bool](at).get().value is True
    double = UserPtr[c_double](at).get()
    double.value = -0.0
    assert peek(at, 8) == bytes(c_double(-0.0))
    double.value = 3
    assert double.value == 3.0


def check_faults(base: int, ref: UserRef[c_int32], elements: UserSlice[c_int32]) -> None:
    """Check that each access faults for real at ``base``."""
    for run in (lambda: ref.value, lambda: setattr(ref, "value", 1), lambda: elements[0], elements.tobytes):
        with pytest.raises(FaultError) as raised:
            run()
        assert (raised.value.address, raised.value.reason) == (base, FaultReason.NOT_PERMITTED)


def test_references_keep_the_addresses_of_a_closed_space_taken() -> None:
    """While one is held, nothing else moves into them: it faults; when all are gone, the space goes too."""
    space = AddrSpace(PAGE_SIZE)
    space.map_alloc(space.base, PAGE_SIZE, READ | WRITE)
    ref, elements = UserPtr[c_int32](space.base).get(space), UserPtr[c_int32](space.base).get_as_slice(space, 4)
    ref.value = 5
    base, alive = space.base, weakref.ref(space)
    space.close()
    del space
    gc.collect()
    assert alive() is not None
    check_faults(base, ref, elements)
    part = elements[1:2]
    del ref, elements
    gc.collect()
    assert alive() is not None
    del part
    gc.collect()
    assert alive() is None


def test_a_write_that_faults_tells_what_it_wrote() -> None:
    """A slice across the end of good memory writes up to the edge, and says how much."""
    with AddrSpace(2 * PAGE_SIZE) as space:
        space.map_alloc(space.base, 2 * PAGE_SIZE, READ | WRITE)
        elements = UserPtr[c_int32](space.base).get_as_slice(space, PAGE_SIZE // 2)
        space.protect(space.base + PAGE_SIZE, PAGE_SIZE, READ)
        for write in (elements.write, lambda data: elements.__setitem__(slice(None), data)):
            poke(space.base, bytes(PAGE_SIZE))
            with pytest.raises(FaultError) as raised:
                write(pattern(2 * PAGE_SIZE))
            assert (raised.value.address, raised.value.transferred) == (space.base + PAGE_SIZE, PAGE_SIZE)
            assert peek(space.base, 2 * PAGE_SIZE) == pattern(PAGE_SIZE) + bytes(PAGE_SIZE)
