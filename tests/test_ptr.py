# SPDX-License-Identifier: MIT
"""User pointers: the order of their checks, what they compute, and what they refuse."""

import ctypes
import errno
import operator
import tempfile
from collections.abc import Callable, Iterator
from ctypes import c_char, c_double, c_int, c_int16, c_int32, c_longlong, c_uint8, sizeof
from typing import Any, ClassVar, TypeVar

import pytest
from helpers_memory import END, READ, WRITE, good_memory, pattern, peek, poke, refused, seen

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    EncodingError,
    FaultError,
    FaultReason,
    MappingFlags,
    TooLongError,
    UserConstPtr,
    UserPtr,
    VirtAddrRange,
)

BEYOND = (-4, -END, END, END - 4, END + 4096, 1 << 80)
FAMILIES: tuple[Any, ...] = (UserPtr, UserConstPtr)
T = TypeVar("T")


class Base(ctypes.Structure):
    _fields_: ClassVar[Any] = (("first", c_int32), ("second", c_uint8))


class Derived(Base):
    _fields_ = (("third", c_int16), ("low", ctypes.c_uint32, 3), ("high", ctypes.c_uint32, 29))


class Number(ctypes.Union):
    _fields_ = (("whole", c_int32), ("real", ctypes.c_float))


class Tagged(ctypes.Structure):
    _anonymous_ = ("number",)
    _fields_ = (("tag", c_int32), ("number", Number), ("inner", Derived))


class Triple(ctypes.Structure):
    _fields_ = (("bytes", c_uint8 * 3),)


class Empty(ctypes.Structure):
    _fields_ = ()


class Noting:
    """A provider of a space, and a space that notes what is asked of it."""

    def __init__(self, space: AddrSpace, *, allows: bool | None = None) -> None:
        self.space = space
        self.allows = allows
        self.asked: list[str] = []

    def with_addr_space(self, f: Callable[["Noting"], T], /) -> T:
        self.asked.append("lend")
        return f(self)

    def check_region_access(self, range: VirtAddrRange, flags: MappingFlags) -> bool:  # noqa: A002
        self.asked.append("permission")
        return self.space.check_region_access(range, flags) if self.allows is None else self.allows

    def populate_area(self, start: int, size: int, flags: MappingFlags) -> None:
        self.asked.append("population")
        self.space.populate_area(start, size, flags)


@pytest.fixture
def space() -> Iterator[AddrSpace]:
    """A space of eight pages, the first two of which are mapped."""
    with AddrSpace(8 * PAGE_SIZE) as made:
        made.map_alloc(made.base, 2 * PAGE_SIZE, READ | WRITE)
        yield made


def test_null_is_told_apart_before_anything_is_touched() -> None:
    """A null pointer is false and nullable() makes None of it; getting it is EFAULT."""
    for null in (UserPtr[c_int](0), UserConstPtr[c_char](0)):
        assert (null.is_null(), bool(null), null.nullable()) == (True, False, None)
        with pytest.raises(FaultError) as raised:
            null.get()
        assert raised.value.address == 0
        assert raised.value.reason is FaultReason.NOT_MAPPED
    given = UserPtr[c_int](8)
    assert (given.is_null(), bool(given)) == (False, True)
    assert given.nullable() is given


def test_alignment_comes_before_permission(space: AddrSpace) -> None:
    """What is misaligned is MISALIGNED, and the space is not asked, although it would refuse."""
    noting = Noting(space, allows=False)
    pointer = UserPtr[c_int](space.base + 1)
    for run in (
        lambda: pointer.get(noting),
        lambda: pointer.get_as_slice(noting, 2),
        lambda: pointer.get_as_slice(noting, 0),
        lambda: pointer.get_as_null_terminated(noting),
    ):
        with pytest.raises(FaultError) as raised:
            run()
        assert seen(raised.value) == refused(space.base + 1, FaultReason.MISALIGNED, WRITE)
    assert set(noting.asked) == {"lend"}


def test_permission_comes_before_population(space: AddrSpace) -> None:
    """What the space refuses is REFUSED, and is not populated."""
    noting = Noting(space, allows=False)
    for pointer in (UserPtr[c_int](space.base), UserConstPtr[c_int](space.base)):
        with pytest.raises(FaultError) as raised:
            pointer.get(noting)
        assert raised.value.reason is FaultReason.REFUSED
    assert noting.asked == ["lend", "permission", "permission"] * 2  # for all the access, and then for what is missing


def test_population_comes_before_the_access_and_keeps_the_systems_error(space: AddrSpace) -> None:
    """A hole that a check let pass is ENOMEM, the page after a file's end EFAULT, and both come from get()."""
    noting = Noting(space, allows=True)
    with pytest.raises(OSError, match="hole") as raised:
        UserPtr[c_int](space.base + 4 * PAGE_SIZE).get(noting)
    assert raised.value.errno == errno.ENOMEM
    assert noting.asked == ["lend", "permission", "population"]
    with tempfile.TemporaryFile() as file:
        file.truncate(PAGE_SIZE)
        mapped = space.map_file(None, file, 2 * PAGE_SIZE, READ | WRITE)
        with pytest.raises(OSError, match="Bad address") as raised:
            UserPtr[c_int](mapped.start + PAGE_SIZE).get(space)
    assert raised.value.errno == errno.EFAULT


def test_the_access_is_guarded_whatever_the_checks_said(space: AddrSpace) -> None:
    """A run in memory that a check let pass faults for real, at its address."""
    at = space.base + 4 * PAGE_SIZE
    with pytest.raises(FaultError) as raised:
        UserConstPtr[c_int](at).get_as_null_terminated(Noting(space, allows=True))
    assert (raised.value.address, raised.value.reason) == (at, FaultReason.NOT_PERMITTED)
    assert raised.value.signal is not None


def test_text_comes_last(space: AddrSpace) -> None:
    """Text that is not UTF-8 is EILSEQ from the UnicodeDecodeError, after all the other layers passed."""
    at = space.base + PAGE_SIZE - 3
    poke(at, "né\U0001f600".encode() + b"\0")
    assert UserConstPtr[c_char](at).get_as_str(space) == "né\U0001f600"
    assert UserConstPtr[c_char](at).get_as_str() == "né\U0001f600"
    poke(at, b"ab\xffc\0")
    noting = Noting(space)
    with pytest.raises(EncodingError) as raised:
        UserConstPtr[c_char](at).get_as_str(noting)
    assert raised.value.errno == errno.EILSEQ
    assert raised.value.address == at
    cause = raised.value.__cause__
    assert isinstance(cause, UnicodeDecodeError)
    assert (cause.object, cause.start) == (b"ab\xffc", 2)
    assert noting.asked == ["lend", "permission", "permission"]
    poke(at, b"\0")
    assert UserConstPtr[c_char](at).get_as_str(space) == ""


def test_text_is_made_of_char_through_const_pointers_only(space: AddrSpace) -> None:
    """Other elements are TypeError before the space is asked, and a UserPtr has no such method."""
    noting = Noting(space)
    for ctype in (ctypes.c_byte, c_uint8, c_int, ctypes.c_char_p):
        pointer: Any = UserConstPtr[ctype](space.base)  # type: ignore[valid-type]
        with pytest.raises(TypeError, match="c_char"):
            pointer.get_as_str(noting)
    assert noting.asked == []
    assert not hasattr(UserPtr[c_char](space.base), "get_as_str")


@pytest.mark.parametrize("ctype", [c_char, c_int16, c_int32, c_double, Triple, Base])
def test_a_run_without_a_terminator_is_too_long(ctype: type[Any], space: AddrSpace) -> None:
    """A limit of n looks at n elements, the terminator included: one more and it is found, also across pages."""
    size = sizeof(ctype)
    at = space.base + PAGE_SIZE - 3 * size
    at -= at % ctypes.alignment(ctype)
    poke(at, b"\1" * 7 * size + bytes(size))
    pointer: Any = UserConstPtr[ctype]  # type: ignore[valid-type]
    for limit in (1, 2, 6, 7):
        with pytest.raises(TooLongError) as raised:
            pointer(at).get_as_null_terminated(space, limit=limit)
        assert (raised.value.errno, raised.value.address, raised.value.limit) == (errno.ENAMETOOLONG, at, limit)
    for limit in (8, 9, 1 << 70):
        assert len(pointer(at).get_as_null_terminated(space, limit=limit)) == 7
    if ctype is c_char:
        with pytest.raises(TooLongError):
            UserConstPtr[c_char](at).get_as_str(limit=7)
        assert UserConstPtr[c_char](at).get_as_str(limit=8) == "\1" * 7


def test_a_run_needs_no_page_after_its_terminator(space: AddrSpace) -> None:
    """A terminator in the last bytes of good memory ends it; without one, the next page is bad at its start."""
    edge = space.base + 2 * PAGE_SIZE
    poke(space.base, b"\1" * 2 * PAGE_SIZE)
    poke(edge - 4, bytes(4))
    for aspace in (space, None):
        assert len(UserPtr[c_int](space.base).get_as_null_terminated(aspace)) == 2 * PAGE_SIZE // 4 - 1
        assert len(UserPtr[c_int](edge - 4).get_as_null_terminated(aspace)) == 0
    poke(edge - 1, b"\1")
    for aspace in (space, None):
        with pytest.raises(FaultError) as raised:
            UserPtr[c_int](space.base).get_as_null_terminated(aspace)
        assert raised.value.address == edge
        assert raised.value.reason is (FaultReason.REFUSED if aspace else FaultReason.NOT_PERMITTED)


@pytest.mark.parametrize("address", BEYOND)
def test_addresses_that_no_processor_has_do_not_wrap(address: int, space: AddrSpace) -> None:
    """Making and moving such pointers is exact; using them is EFAULT with that address, and as_ptr() ValueError."""
    pointer = UserPtr[c_int](address)
    assert pointer.address == address
    assert (pointer + END // 4).address == address + END
    assert (pointer - END // 4).address == address - END
    for aspace in (space, None):
        for run in (
            lambda aspace=aspace: pointer.get(aspace),
            lambda aspace=aspace: pointer.get_as_slice(aspace, END // 4),
            lambda aspace=aspace: pointer.get_as_null_terminated(aspace),
        ):
            with pytest.raises(FaultError) as raised:
                run()
            assert raised.value.address == address
            assert raised.value.transferred == 0
    if not 0 <= address < END:
        with pytest.raises(ValueError, match="no address"):
            pointer.as_ptr()


@pytest.mark.parametrize("address", [address for address in BEYOND if not 0 <= address < END])
def test_addresses_that_no_processor_has_are_out_of_range(address: int) -> None:
    """The reason of the error says so when they are used in the whole process."""
    for pointer in (UserPtr[c_int](address), UserConstPtr[c_int](address)):
        with pytest.raises(FaultError) as raised:
            pointer.get()
        assert raised.value.reason is FaultReason.OUT_OF_RANGE


def test_a_length_that_leads_out_of_the_address_space_is_refused(space: AddrSpace) -> None:
    """No number of elements wraps around to good memory, and a negative one is ValueError."""
    pointer = UserPtr[c_int](space.base)
    for aspace in (space, None):
        for length in (PAGE_SIZE // 2 + 1, END // 8, END // 4, END // 4 + 1, 1 << 80):
            with pytest.raises(FaultError) as raised:
                pointer.get_as_slice(aspace, length)
            # The process is asked by trying, so it tells the first bad byte of what is in the address space at all.
            tried = aspace is None and space.base + 4 * length <= END
            assert raised.value.address == (space.base + 2 * PAGE_SIZE if tried else space.base)
        with pytest.raises(ValueError, match="-1"):
            pointer.get_as_slice(aspace, -1)
    with pytest.raises(ValueError, match="-1"):
        pointer.get_as_slice(-1)
    with pytest.raises(TypeError):
        pointer.get_as_slice(space)  # type: ignore[call-overload]
    assert len(pointer.get_as_slice(PAGE_SIZE // 2)) == PAGE_SIZE // 2


def test_pointers_count_in_elements() -> None:
    """Adding and subtracting move by whole elements, and the difference of two pointers counts them."""
    start: Any = UserPtr[Base](0x1000)
    assert start + 3 == UserPtr[Base](0x1000 + 24)
    assert start - 3 == start + -3 == UserPtr[Base](0x1000 - 24)
    assert (start + 5) - start == 5
    assert start - (start + 5) == -5
    assert start - UserConstPtr[Base](0x1008) == -1
    assert start + True == UserPtr[Base](0x1008)
    assert int(start) == 0x1000
    moved = start
    moved += 1
    assert (moved, start) == (UserPtr[Base](0x1008), UserPtr[Base](0x1000))
    with pytest.raises(ValueError, match="whole number of elements"):
        start - UserPtr[Base](0x1004)


def test_arithmetic_refuses_what_is_no_count() -> None:
    """Pointers to other types, pointers added, floats and strings are TypeError."""
    start: Any = UserPtr[c_int](0x1000)
    for other in (UserPtr[c_longlong](0x1000), UserPtr[ctypes.c_uint](0x1000), 1.0, "1", None):
        for compute in (operator.add, operator.sub):
            with pytest.raises(TypeError):
                compute(start, other)
    with pytest.raises(TypeError):
        operator.add(start, start)
    with pytest.raises(TypeError):
        operator.sub(1, start)


def test_elements_of_no_size_have_no_distance() -> None:
    """Pointers to an empty structure move nowhere, and their difference is ValueError."""
    pointer: Any = UserPtr[Empty](8)
    assert pointer + 5 == pointer
    with pytest.raises(ValueError, match="elements"):
        operator.sub(pointer, pointer)


def test_fields_are_found_in_structures_unions_and_their_bases() -> None:
    """A member's pointer has its type and its offset, through nesting and inheritance, for both kinds."""
    for family in FAMILIES:
        outer: Any = family[Tagged](0x1000)
        assert outer.field("tag") == family[c_int32](0x1000)
        assert outer.field("number") == family[Number](0x1004)
        assert outer.field("number").field("real") == family[ctypes.c_float](0x1004)
        inner = outer.field("inner")
        assert inner.field("first") == family[c_int32](0x1008)
        assert inner.field("third") == family[c_int16](0x1008 + Derived.third.offset)
        assert family[Triple](8).field("bytes") == family[c_uint8 * 3](8)
        with pytest.raises(TypeError, match="bit field"):
            inner.field("low")
        for name in ("fourth", "", "__doc__", "_fields_"):
            with pytest.raises(AttributeError, match="no field"):
                inner.field(name)
        with pytest.raises(AttributeError, match="no field"):
            family[c_int](8).field("value")


def test_members_of_anonymous_fields_are_fields() -> None:
    """What ctypes reaches through an anonymous field without naming it, field() reaches too."""
    assert UserPtr[Tagged](0x1000).field("real") == UserPtr[ctypes.c_float](0x1004)
    assert UserConstPtr[Tagged](0x1000).field("whole") == UserConstPtr[c_int32](0x1004)


def test_field_and_cast_reach_the_values(space: AddrSpace) -> None:
    """What is read and written through a member's or a cast pointer is that part of the memory."""
    poke(space.base, pattern(64))
    value = Tagged.from_buffer_copy(peek(space.base, sizeof(Tagged)))
    pointer = UserPtr[Tagged](space.base)
    assert pointer.field("inner").field("third").get(space).value == value.inner.third
    pointer.field("inner").field("second").get(space).value = 77
    assert pointer.get(space).value.inner.second == 77
    assert pointer.cast(c_uint8).get_as_slice(space, 4).tobytes() == ctypes.string_at(ctypes.addressof(value), 4)


def test_pointers_show_their_type_and_address() -> None:
    """The repr is what makes them; a reference and a slice show what they are of."""
    integer = c_int.__name__  # c_long's, where they are the same
    assert repr(UserPtr[c_int](0x1F)) == f"UserPtr[{integer}](0x1f)"
    assert repr(UserConstPtr[Base](0)) == "UserConstPtr[Base](0x0)"
    assert repr(UserPtr[c_int](-1)) == f"UserPtr[{integer}](-0x1)"
    with good_memory(1) as start:
        assert repr(UserPtr[c_int](start).get()) == f"<UserRef[{integer}] at {start:#x}>"
        assert repr(UserPtr[c_int](start).get_as_slice(3)) == f"<UserSlice[{integer}] of 3 at {start:#x}>"


def test_as_ptr_is_the_plain_ctypes_pointer() -> None:
    """It points to the same memory, and a null pointer's is false."""
    with good_memory(1) as start:
        poke(start, bytes(c_int(-5)))
        plain = UserPtr[c_int](start).as_ptr()
        assert isinstance(plain, ctypes.POINTER(c_int))
        assert plain.contents.value == -5
    assert not UserPtr[c_int](0).as_ptr()
