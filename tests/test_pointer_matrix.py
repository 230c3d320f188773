# SPDX-License-Identifier: MIT
"""Every element type, every pointer method, every state of the memory behind it."""

import contextlib
import ctypes
import enum
import errno
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from helpers_memory import READ, WRITE, pattern, peek, poke, require

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, UserConstPtr, UserPtr
from axptr_native._regions import Ending


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int16), ("y", ctypes.c_int32))


class Either(ctypes.Union):
    _fields_ = (("number", ctypes.c_uint64), ("pair", Point))


class Nested(ctypes.Structure):
    _fields_ = (("tag", ctypes.c_char), ("point", Point), ("either", Either), ("many", Point * 2))


class Packed(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("tag", ctypes.c_uint8), ("number", ctypes.c_uint32))


class Network(ctypes.BigEndianStructure):
    _fields_ = (("port", ctypes.c_uint16), ("host", ctypes.c_uint32))


NAMES = (
    "bool byte ubyte char wchar short ushort int uint long ulong longlong ulonglong size_t ssize_t int8 uint8 int16 "
    "uint16 int32 uint32 int64 uint64 float double void_p char_p wchar_p"
)
POINTERS: list[type[Any]] = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_wchar_p,
    ctypes.POINTER(ctypes.c_int),
    ctypes.POINTER(Point),
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int),
]
AGGREGATES: list[type[Any]] = [Point, Either, Nested, Packed, Network, ctypes.c_int * 3, ctypes.c_char * 5, Point * 2]
CTYPES: list[type[Any]] = list(
    dict.fromkeys(
        [
            *(getattr(ctypes, f"c_{name}") for name in NAMES.split()),
            ctypes.c_uint32.__ctype_be__,
            *POINTERS,
            *AGGREGATES,
        ]
    )
)


class State(enum.Enum):
    """What the memory behind a pointer is like; the value is what a check says of it."""

    MISALIGNED = FaultReason.MISALIGNED
    NO_PERMISSION = FaultReason.REFUSED, "not permitted"
    HOLE = FaultReason.REFUSED, "hole"
    END_OF_FILE = None
    CLOSED = FaultReason.REFUSED, "closed"
    OTHER_SPACE = FaultReason.REFUSED, "elsewhere"


class Place(NamedTuple):
    """A space, the last address before the bad memory, and how to make the good memory bad."""

    space: AddrSpace
    edge: int
    spoil: Callable[[], object]


@contextlib.contextmanager
def place(state: State | None, access: MappingFlags = READ | WRITE) -> Iterator[Place]:
    """Give two good pages of a space, and two beyond that are in the state; ``spoil`` puts the others into it too."""
    if state is State.END_OF_FILE:
        require(Ending.END_OF_FILE)
    size = 4 * PAGE_SIZE
    with AddrSpace(size) as space, AddrSpace(size) as other, tempfile.TemporaryFile() as file:
        file.truncate(2 * PAGE_SIZE)
        start, edge = space.base, space.base + 2 * PAGE_SIZE
        less = READ if WRITE in access else MappingFlags(0)
        if state is State.END_OF_FILE:
            space.map_file(start, file, size, access | READ | WRITE)
        else:
            space.map_alloc(start, size, READ | WRITE)
        poke(start, pattern(2 * PAGE_SIZE))
        if state is State.NO_PERMISSION:
            space.protect(edge, 2 * PAGE_SIZE, less)
        elif state in (State.HOLE, State.CLOSED):
            space.unmap(edge, 2 * PAGE_SIZE)
        elif state is State.OTHER_SPACE:
            other.map_alloc(None, size, READ | WRITE)
            yield Place(space, other.base, lambda: None)
            return
        spoil: dict[State | None, Callable[[], object]] = {
            State.NO_PERMISSION: lambda: space.protect(start, size, MappingFlags(0)),
            State.HOLE: lambda: space.unmap(start, size),
            State.END_OF_FILE: lambda: file.truncate(0),
            State.CLOSED: space.close,
        }
        yield Place(space, edge, spoil.get(state, lambda: None))


def raw_of(ctype: type[Any]) -> bytes:
    """Return bytes that hold a value of the type which is not all zero."""
    if ctype is ctypes.c_bool:
        return b"\1"
    return bytes(ctypes.c_wchar("é")) if ctype is ctypes.c_wchar else pattern(ctypes.sizeof(ctype))


def check_value(ctype: type[Any], value: Any, raw: bytes) -> None:
    """Check that a value is what ctypes makes of the bytes."""
    if ctype in POINTERS:
        assert value == int.from_bytes(raw, sys.byteorder)
    elif ctype in AGGREGATES:
        assert type(value) is ctype
        assert bytes(value) == raw
    else:
        assert value == ctype.from_buffer_copy(raw).value


def untouching(ctype: type[Any], pointer: Any) -> None:
    """Use every method that touches no memory, and check what it gives."""
    kind, size, at = type(pointer), ctypes.sizeof(ctype), int(pointer)
    family: Any = UserPtr if isinstance(pointer, UserPtr) else UserConstPtr
    assert pointer.address == at
    assert pointer.ctype is ctype
    assert (pointer.is_null(), bool(pointer), pointer.nullable()) == (False, True, pointer)
    assert pointer + 3 == kind(at + 3 * size)
    assert pointer - 3 == kind(at - 3 * size)
    assert (pointer + 3) - pointer == 3
    assert pointer.cast(ctypes.c_uint8) == family[ctypes.c_uint8](at)
    assert ctypes.cast(pointer.as_ptr(), ctypes.c_void_p).value == at
    for name, member, *_ in getattr(ctype, "_fields_", ()):
        assert pointer.field(name) == family[member](at + getattr(ctype, name).offset)
    with pytest.raises(AttributeError, match="no field 'nowhere'"):
        pointer.field("nowhere")


def checking(pointer: Any, space: AddrSpace | None, length: int) -> Iterator[tuple[Callable[[], Any], MappingFlags]]:
    """Yield every method that checks memory, ready to be called, and what it does where checks do not help.

    The first two bring the pages in, for all that the pointer may do; the others read, for the terminator.
    """
    strongest = WRITE if isinstance(pointer, UserPtr) else READ
    yield lambda: pointer.get(space), strongest
    yield lambda: pointer.get_as_slice(space, length), strongest
    yield lambda: pointer.get_as_null_terminated(space), READ
    if pointer.ctype is ctypes.c_char and isinstance(pointer, UserConstPtr):
        yield lambda: pointer.get_as_str(space), READ


kinds = pytest.mark.parametrize("kind", [UserPtr, UserConstPtr])
types = pytest.mark.parametrize("ctype", CTYPES, ids=lambda ctype: ctype.__name__)


@kinds
@types
@pytest.mark.parametrize("process", [False, True])
def test_every_method_works_on_good_memory(kind: Any, ctype: type[Any], process: bool) -> None:
    """A reference, a slice and a terminated run read the values that are there, and a UserPtr writes them back."""
    raw, size = raw_of(ctype), ctypes.sizeof(ctype)
    with place(None) as (space, edge, _):
        at = edge - 8 * size  # the last of 16 elements lies on the next page
        at -= at % ctypes.alignment(ctype)
        poke(at, 16 * raw + bytes(size))
        pointer = kind[ctype](at)
        untouching(ctype, pointer)
        chosen = None if process else space
        ref, elements = pointer.get(chosen), pointer.get_as_slice(chosen, 16)
        run = pointer.get_as_null_terminated(chosen)
        check_value(ctype, ref.value, raw)
        assert (len(elements), len(run)) == (16, 16)
        assert elements.tobytes() == run.tobytes() == bytes(elements.copy()) == 16 * raw
        check_value(ctype, elements[-1], raw)
        value = ref.value
        if kind is UserPtr:
            poke(at, bytes(16 * size))
            ref.value = elements[1] = elements[-1] = value
            assert peek(at, 17 * size) == 2 * raw + bytes(13 * size) + raw + bytes(size)
        else:
            for write in (lambda: setattr(ref, "value", value), lambda: elements.__setitem__(0, value)):
                with pytest.raises(TypeError, match="const"):
                    write()
            assert peek(at, 16 * size) == 16 * raw


@kinds
@types
@pytest.mark.parametrize("state", State, ids=lambda state: state.name.lower())
def test_bad_memory_is_refused_by_every_check(kind: Any, ctype: type[Any], state: State) -> None:
    """Beyond the edge, and across it, each checking method is EFAULT with its reason; the others do not care."""
    access = READ | WRITE if kind is UserPtr else READ
    strongest = WRITE if kind is UserPtr else READ
    size, align = ctypes.sizeof(ctype), ctypes.alignment(ctype)
    with place(state, access) as (space, edge, spoil):
        if state is State.CLOSED:
            spoil()
        beyond = edge + (1 if state is State.MISALIGNED else 0)
        if state is State.MISALIGNED and align == 1:
            assert kind[ctype](beyond).get(space).address == beyond
            return
        pointer = kind[ctype](beyond)
        untouching(ctype, pointer)
        if state is not State.MISALIGNED:
            assert pointer.get_as_slice(space, 0).tobytes() == b""
        for run, does in checking(pointer, space, 2):
            with pytest.raises(OSError, match="Bad address") as raised:
                run()
            error = raised.value
            assert isinstance(error, FaultError)
            assert error.errno == errno.EFAULT
            reason = state.value[0] if isinstance(state.value, tuple) else state.value
            assert error.reason is (reason or FaultReason.BEYOND_END)
            assert error.address == beyond
            if state in (State.MISALIGNED, State.NO_PERMISSION):  # what a UserPtr may not do is write
                assert error.access is strongest
            elif state is State.END_OF_FILE:
                assert error.access is does
            else:
                assert error.access is READ  # the first that is missing
            assert error.transferred == 0
        if state in (State.MISALIGNED, State.OTHER_SPACE, State.CLOSED):
            return
        across = kind[ctype](edge - size)
        assert across.get(space).address == edge - size
        for run in (lambda: across.get_as_slice(space, 2), lambda: (across + 1).get(space)):
            with pytest.raises(OSError, match="Bad address"):
                run()
        if size > align:
            straddling = kind[ctype](edge - align)
            for run, _ in checking(straddling, space, 1):
                with pytest.raises(OSError, match="Bad address"):
                    run()


@types
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.NO_PERMISSION, FaultReason.NOT_PERMITTED),
        (State.HOLE, FaultReason.NOT_PERMITTED),
        (State.END_OF_FILE, FaultReason.BEYOND_END),
        (State.CLOSED, FaultReason.NOT_PERMITTED),
    ],
)
def test_what_goes_bad_after_the_check_faults_at_the_access(
    ctype: type[Any], state: State, reason: FaultReason
) -> None:
    """A reference and a slice made before raise the hardware's FaultError, for reads and writes, at their address."""
    with place(state) as (space, edge, spoil):
        at = edge - PAGE_SIZE
        poke(at, raw_of(ctype) * 2)
        pointer: UserPtr[Any] = UserPtr[ctype](at)  # type: ignore[valid-type]
        ref, elements = pointer.get(space), pointer.get_as_slice(space, 2)
        value = ref.value
        spoil()
        size = ctypes.sizeof(ctype)
        accesses: list[tuple[Callable[[], object], MappingFlags, int]] = [
            (lambda: ref.value, READ, at),
            (lambda: elements[1], READ, at + size),
            (lambda: elements[1:][0], READ, at + size),
            (lambda: list(elements), READ, at),
            (lambda: value in elements, READ, at),
            (elements.tobytes, READ, at),
            (elements.copy, READ, at),
            (lambda: setattr(ref, "value", value), WRITE, at),
            (lambda: elements.__setitem__(1, value), WRITE, at + size),
            (lambda: elements.__setitem__(slice(0, 1), bytes(size)), WRITE, at),
            (lambda: elements.write(bytes(size)), WRITE, at),
        ]
        for run, access, address in accesses:
            with pytest.raises(FaultError) as raised:
                run()
            error = raised.value
            assert (error.reason, error.access, error.address, error.transferred) == (reason, access, address, 0)
            assert error.signal is not None
