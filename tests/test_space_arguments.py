# SPDX-License-Identifier: MIT
"""What is passed to address spaces, checks and pointers: integers of every kind, and what is none."""

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_int, c_void_p
from pathlib import Path
from typing import Any

import pytest
from helpers_memory import READ, Indexed
from helpers_space import RW, Disk, at, layout, spaced, unchanged
from test_interruptions import interrupted_by

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    EncodingError,
    FaultError,
    FaultReason,
    MappingFlags,
    ProcessSpace,
    TooLongError,
    UserConstPtr,
    UserPtr,
    VirtAddr,
    VirtAddrRange,
    atomics,
    check_null_terminated,
    check_region,
    uaccess,
)
from axptr_native.check import Layout

PROCESS = ProcessSpace()
WORD = Layout(4, 4)
Call = Callable[[AddrSpace, Any], object]


def fill(_page: VirtAddr, _access: MappingFlags) -> bytes:
    return b"\x07" * PAGE_SIZE


PLACES: dict[str, Call] = {
    "map_alloc": lambda space, start: space.map_alloc(start, PAGE_SIZE, RW),
    "map_file": lambda space, start: space.map_file(start, 0, PAGE_SIZE, RW),
    "map_pager": lambda space, start: space.map_pager(start, PAGE_SIZE, RW, fill),
    "unmap": lambda space, start: space.unmap(start, PAGE_SIZE),
    "protect": lambda space, start: space.protect(start, PAGE_SIZE, RW),
    "populate_area": lambda space, start: space.populate_area(start, PAGE_SIZE, RW),
    "evict": lambda space, start: space.evict(start, PAGE_SIZE),
    "handle_page_fault": lambda space, start: space.handle_page_fault(start, READ),
    "find_free_area": lambda space, start: space.find_free_area(start, PAGE_SIZE),
    "contains_range": lambda space, start: space.contains_range(start, PAGE_SIZE),
    "read": lambda space, start: space.read(start, 1),
    "write": lambda space, start: space.write(start, b"x"),
    "check_region": lambda space, start: check_region(space, start, WORD, READ),
    "check_null_terminated": lambda space, start: check_null_terminated(space, start, c_int, READ, 5),
    "ProcessSpace.read": lambda _, start: PROCESS.read(start, 1),
    "ProcessSpace.write": lambda _, start: PROCESS.write(start, bytearray(b"x")),
    "ProcessSpace.populate_area": lambda _, start: PROCESS.populate_area(start, PAGE_SIZE, READ),
    "ProcessSpace.handle_page_fault": lambda _, start: PROCESS.handle_page_fault(start, READ),
    "ProcessSpace's check_region": lambda _, start: check_region(PROCESS, start, WORD, READ),
}
SIZES: dict[str, Call] = {
    "AddrSpace": lambda _, size: AddrSpace(size),
    "map_alloc": lambda space, size: space.map_alloc(None, size, RW),
    "map_pager": lambda space, size: space.map_pager(None, size, RW, fill),
    "unmap": lambda space, size: space.unmap(space.base, size),
    "protect": lambda space, size: space.protect(space.base, size, RW),
    "populate_area": lambda space, size: space.populate_area(space.base, size, RW),
    "evict": lambda space, size: space.evict(space.base, size),
    "find_free_area": lambda space, size: space.find_free_area(space.base, size),
    "contains_range": lambda space, size: space.contains_range(space.base, size),
    "read": lambda space, size: space.read(space.base, size),
    "check_null_terminated": lambda space, limit: check_null_terminated(space, space.base, c_int, READ, limit),
    "get_as_null_terminated": lambda space, limit: UserPtr[c_int](space.base).get_as_null_terminated(limit=limit),
}


@pytest.mark.parametrize("wrong", [1.0, 4096.0, "1", b"1", [1], 1j], ids=repr)
def test_what_is_no_integer_is_a_type_error(wrong: object) -> None:
    """As an address or as a size, of spaces and of checks, TypeError, and nothing has changed."""
    with spaced() as space:
        space.map_alloc(space.base, PAGE_SIZE, RW)
        space.write(space.base, b"\x01" * PAGE_SIZE)
        with unchanged(space):
            for calls in (PLACES, SIZES):
                for name, call in calls.items():
                    with pytest.raises(TypeError):
                        pytest.fail(f"{name}: {call(space, wrong)!r}")


@pytest.mark.parametrize("wrong", ["12", b"12", 1.5, None, [1]], ids=repr)
def test_what_is_no_integer_is_no_address(wrong: Any) -> None:
    """An address, and the errors that name one, are not made of text or of floats."""
    for make in (
        VirtAddr,
        lambda value: FaultError(value, READ, FaultReason.REFUSED),
        lambda value: EncodingError(value, "why"),
        lambda value: TooLongError(value, 5),
    ):
        with pytest.raises(TypeError):
            make(wrong)
    assert VirtAddr(Indexed(5)) == 5  # type: ignore[arg-type]


def test_what_stands_for_an_integer_is_one_everywhere(space: AddrSpace, tmp_path: Path) -> None:
    """Starts and sizes that have __index__ and no arithmetic do what the integers do."""
    whole = Indexed(PAGE_SIZE)
    (tmp_path / "file").write_bytes(b"f" * PAGE_SIZE)

    def place(page: int) -> Any:
        return Indexed(int(at(space, page)))

    for operate in (
        lambda: space.map_alloc(place(0), whole, RW),  # type: ignore[arg-type]
        lambda: space.map_pager(place(2), whole, RW, fill),  # type: ignore[arg-type]
        lambda: space.protect(place(0), whole, READ),  # type: ignore[arg-type]
        lambda: space.populate_area(place(2), whole, RW),  # type: ignore[arg-type]
        lambda: PROCESS.populate_area(place(0), whole, READ),  # type: ignore[arg-type]
    ):
        operate()
    with (tmp_path / "file").open("rb") as file:
        space.map_file(place(4), file, whole, READ, offset=Indexed(0))  # type: ignore[arg-type]
    assert layout(space) == [(0, 1, READ), (2, 1, RW), (4, 1, READ)]
    assert space.read(place(4), Indexed(3)) == b"fff"  # type: ignore[arg-type]
    space.write(place(2), bytearray(b"own"))
    PROCESS.write(Indexed(int(at(space, 2) + 3)), bytearray(b"er"))  # type: ignore[arg-type]
    assert PROCESS.read(place(2), 6) == b"owner\x07"
    assert space.evict(place(2), whole) == 1  # type: ignore[arg-type]
    space.unmap(place(0), Indexed(5 * PAGE_SIZE))  # type: ignore[arg-type]
    assert layout(space) == []


def test_what_a_finalizer_unmaps_with_such_integers_goes() -> None:
    """An unmap that is put off because of whom it interrupts is done with the next operation."""
    with spaced(64) as space:
        owned = [space.map_alloc(at(space, 2 * page), PAGE_SIZE, RW).start for page in range(16)]

        def unmap() -> None:
            if owned:
                space.unmap(Indexed(int(owned.pop())), Indexed(PAGE_SIZE))  # type: ignore[arg-type]

        with interrupted_by(unmap) as ended:
            while owned:
                start = space.map_alloc(at(space, 50), PAGE_SIZE, RW).start
                space.unmap(start, PAGE_SIZE)
        space.map_alloc(at(space, 60), PAGE_SIZE, RW)
        assert set(ended) == {None}
        assert layout(space) == [(60, 1, RW)]


@pytest.mark.parametrize("flags", [MappingFlags(8), MappingFlags(0x13), MappingFlags(1 << 40)], ids=int)
def test_flags_that_there_are_not_are_refused(flags: MappingFlags, space: AddrSpace) -> None:
    """A bit beyond EXECUTE is EINVAL to map, of every kind, and to protect; nothing has changed."""
    space.map_alloc(space.base, PAGE_SIZE, READ)
    with unchanged(space):
        for change in (
            lambda: space.map_alloc(None, PAGE_SIZE, flags),
            lambda: space.map_file(None, 0, PAGE_SIZE, flags),
            lambda: space.map_pager(None, PAGE_SIZE, flags, fill),
            lambda: space.protect(space.base, PAGE_SIZE, flags),
        ):
            with pytest.raises(OSError, match="more than the flags that there are"):
                change()


def test_what_cannot_be_called_is_no_pager(space: AddrSpace) -> None:
    """A pager, or a write-back, that is no function is TypeError when it is mapped, and nothing is."""
    wrong: Any
    for wrong in (None, 5, b"x" * PAGE_SIZE):
        with pytest.raises(TypeError, match="functions are required"):
            space.map_pager(None, PAGE_SIZE, RW, wrong)
    for wrong in (5, "x"):
        with pytest.raises(TypeError, match="functions are required"):
            space.map_pager(None, PAGE_SIZE, RW, fill, write_back=wrong)
    assert layout(space) == []
    Disk(bytes(PAGE_SIZE)).map(space)


@pytest.mark.parametrize("wrong", [5, "space", object(), AddrSpace])
def test_what_lends_no_address_space_is_a_type_error(wrong: Any) -> None:
    """Every way from a pointer to what it points to says so, before anything is touched."""
    pointer = UserConstPtr[c_void_p](16).cast(POINTER(c_int))
    for use in (
        lambda: pointer.get(wrong),
        lambda: pointer.follow(wrong),
        lambda: pointer.get_as_slice(wrong, 3),
        lambda: pointer.get_as_null_terminated(wrong),
        lambda: pointer.cast(ctypes.c_char).get_as_str(wrong),
    ):
        with pytest.raises(TypeError):
            use()


def test_a_limit_that_is_no_range_is_a_type_error(space: AddrSpace) -> None:
    """find_free_area takes a VirtAddrRange, an empty one too, and no tuple."""
    wrong: Any
    for wrong in ((0, 2**64 - 1), 5, range(5)):
        with pytest.raises(TypeError, match="VirtAddrRange"):
            space.find_free_area(0, PAGE_SIZE, wrong)
    assert space.find_free_area(0, PAGE_SIZE, VirtAddrRange(space.base, space.base)) is None


def test_an_integer_that_no_float_comes_near_to_does_not_fit() -> None:
    """It is ValueError for a float or a double, as an integer too large for an integer is; nothing is written."""
    memory = ctypes.create_string_buffer(b"\xaa" * 8)
    start = ctypes.addressof(memory)
    for ctype in (ctypes.c_double, ctypes.c_float):
        for write in (uaccess.put_user, atomics.store, atomics.exchange):
            with pytest.raises(ValueError, match="too large"):
                write(start, ctype, 10**400)
        reference: Any = UserPtr[ctype](start).get()  # type: ignore[valid-type]
        with pytest.raises(ValueError, match="too large"):
            reference.value = -(10**400)
    assert memory.raw == b"\xaa" * 8 + b"\0"
