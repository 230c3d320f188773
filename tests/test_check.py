# SPDX-License-Identifier: MIT
"""The checks: their order, every page that an element touches, and an end to every scan."""

import ctypes
import errno
import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from helpers_memory import END, READ, WRITE, fault_of, pattern
from helpers_space import NONE, RW, Disk, at, spaced

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultReason,
    MappingFlags,
    ProcessSpace,
    TooLongError,
    UserConstPtr,
    UserPtr,
    VirtAddrRange,
    check_null_terminated,
    check_region,
)
from axptr_native.check import Layout


class Three(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint8 * 3),)


class Twelve(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint32 * 3),)


class Empty(ctypes.Structure):
    pass


Large = ctypes.c_uint8 * (PAGE_SIZE + 1000)
Byte5 = ctypes.c_uint8 * 5
ELEMENTS: list[type[Any]] = [
    ctypes.c_uint8,
    ctypes.c_char,
    ctypes.c_uint16,
    ctypes.c_int32,
    ctypes.c_uint64,
    ctypes.c_double,
    ctypes.c_void_p,
    Three,
    Byte5,
    Twelve,
    Large,
]


class Recording:
    """A space that records what it is asked, allows it in [start, end), and fails to populate if it is told to."""

    def __init__(self, start: int, end: int, *, populate: int = 0) -> None:
        self.allowed = VirtAddrRange(start, end)
        self.populate = populate
        self.calls: list[tuple[str, int, int, MappingFlags]] = []

    def with_addr_space(self, f: Any, /) -> Any:
        return f(self)

    def check_region_access(self, range: VirtAddrRange, flags: MappingFlags) -> bool:  # noqa: A002
        self.calls.append(("access", range.start, range.size, flags))
        return self.allowed.contains_range(range)

    def populate_area(self, start: int, size: int, flags: MappingFlags) -> None:
        self.calls.append(("populate", start, size, flags))
        if self.populate:
            raise OSError(self.populate, os.strerror(self.populate))


@pytest.fixture
def space() -> Iterator[AddrSpace]:
    """A space of 16 pages whose first ten are mapped and filled with bytes that are not zero."""
    with spaced(16) as made:
        made.map_alloc(made.base, 10 * PAGE_SIZE, RW)
        made.write(made.base, pattern(10 * PAGE_SIZE))
        yield made


def test_layouts_are_size_and_alignment() -> None:
    """Layout.of() multiplies without overflow, keeps the alignment, and refuses bad counts and types."""
    assert Layout.of(ctypes.c_uint32, 3) == (12, ctypes.alignment(ctypes.c_uint32))
    assert Layout.of(Three) == (3, 1)
    assert Layout.of(ctypes.c_uint64, 2**70).size == 2**73
    assert Layout.of(ctypes.c_uint64, 0).size == 0
    with pytest.raises(ValueError, match="-1 elements"):
        Layout.of(ctypes.c_uint8, -1)
    with pytest.raises(TypeError, match="Structure is abstract"):
        Layout.of(ctypes.Structure)


def test_alignment_comes_before_permission_before_population() -> None:
    """A region that fails several checks reports the first in order, and asks nothing after it."""
    page = 16 * PAGE_SIZE
    both = Recording(page, page, populate=errno.ENOMEM)
    assert (
        fault_of(lambda: check_region(both, page + 1, Layout(8, 8), RW), "alignment").reason is FaultReason.MISALIGNED
    )
    assert both.calls == []
    assert fault_of(lambda: check_region(both, page, Layout(8, 8), RW), "permission").reason is FaultReason.REFUSED
    assert {call for call, *_ in both.calls} == {"access"}
    last = Recording(page, page + 8, populate=errno.ENOMEM)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as raised:
        check_region(last, page, Layout(8, 8), READ)
    assert raised.value.errno == errno.ENOMEM
    assert last.calls == [("access", page, 8, READ), ("populate", page, PAGE_SIZE, READ)]


def test_empty_regions_need_alignment_alone() -> None:
    """Of a region of no bytes just the alignment is checked, and nobody is asked."""
    nothing = Recording(0, 0)
    check_region(nothing, 8, Layout(0, 8), READ)
    error = fault_of(lambda: check_region(nothing, 9, Layout(0, 8), READ), "misaligned")
    assert (error.reason, nothing.calls) == (FaultReason.MISALIGNED, [])


def test_whole_pages_are_populated() -> None:
    """The pages of a region that starts and ends within pages are populated whole."""
    page = 16 * PAGE_SIZE
    asked = Recording(0, 2**40)
    check_region(asked, page + 4095, Layout(2 * PAGE_SIZE, 1), WRITE)
    assert asked.calls[-1] == ("populate", page, 3 * PAGE_SIZE, WRITE)


@pytest.mark.parametrize(
    ("start", "size"), [(-8, 8), (2**64 - 8, 16), (2**64, 8), (0, 2**70), (-(2**70), 8), (10 * PAGE_SIZE - 8, 16)]
)
def test_regions_that_leave_the_space_are_refused(start: int, size: int, space: AddrSpace) -> None:
    """A region that is negative, overflows or is not all mapped is a FaultError, in a space and in the process."""
    if start > 2**60 or start < 0 or size > 2**60:
        fault_of(lambda: check_region(ProcessSpace(), start, Layout(size, 8), READ), "process")
    error = fault_of(lambda: check_region(space, space.base + start, Layout(size, 8), WRITE), "space")
    outside = not 0 <= space.base + start <= space.base + start + size <= 2**64
    assert error.reason is (FaultReason.OUT_OF_RANGE if outside else FaultReason.REFUSED)
    assert (error.access, error.signal) == (WRITE, None)


def test_regions_bring_pages_in(space: AddrSpace) -> None:
    """check_region pages in what a pager provides, for writing if that is asked, and hands its refusal on."""
    disk = Disk(pattern(2 * PAGE_SIZE))
    disk.map(space)
    check_region(space, disk.start + PAGE_SIZE - 1, Layout(2, 1), WRITE)
    assert disk.asked == [(0, WRITE), (1, WRITE)]
    refusing = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: None).start
    error = fault_of(lambda: check_region(space, refusing, Layout(8, 8), READ), "refused")
    assert (error.reason, error.address) == (FaultReason.REFUSED, refusing)


def element_start(space: AddrSpace, ctype: type[Any], count: int, *, over_edge: bool) -> int:
    """Return where a run of ``count`` elements and a terminator starts whose end is at or over an edge."""
    width = ctypes.sizeof(ctype)
    end = at(space, 6) + (width // 2 if over_edge else 0)
    start = end - (count + 1) * width
    return start - start % ctypes.alignment(ctype)


@pytest.mark.parametrize("over_edge", [False, True], ids=["at an edge", "over an edge"])
@pytest.mark.parametrize("ctype", ELEMENTS)
def test_runs_are_counted_up_to_the_terminator(ctype: type[Any], over_edge: bool, space: AddrSpace) -> None:
    """For every element size the elements before the first that is all zero are counted, wherever the pages end."""
    width = ctypes.sizeof(ctype)
    for count in (0, 1, 2, min(2 * PAGE_SIZE // width, 300)):
        space.write(space.base, pattern(10 * PAGE_SIZE))
        start = element_start(space, ctype, count, over_edge=over_edge)
        space.write(start + count * width, bytes(width))
        assert check_null_terminated(space, start, ctype, READ, count + 1) == count
        assert check_null_terminated(space, start, ctype, RW, 10**9) == count
        if count:
            with pytest.raises(TooLongError) as raised:
                check_null_terminated(space, start, ctype, READ, count)
            assert (raised.value.address, raised.value.limit) == (start, count)


@pytest.mark.parametrize("ctype", ELEMENTS)
def test_elements_with_one_byte_set_do_not_end_a_run(ctype: type[Any], space: AddrSpace) -> None:
    """An element ends a run only if every byte of it is zero, whichever byte is not."""
    width = ctypes.sizeof(ctype)
    start = at(space, 1)
    for byte in {0, width // 2, width - 1}:
        space.write(start, bytes(3 * width))
        space.write(start + byte, b"\x80")
        assert check_null_terminated(space, start, ctype, READ, 5) == 1


@pytest.mark.parametrize("ctype", ELEMENTS)
def test_an_element_over_a_forbidden_page_is_refused(ctype: type[Any], space: AddrSpace) -> None:
    """A run that needs one byte of a page that does not allow the access is refused."""
    width = ctypes.sizeof(ctype)
    edge = at(space, 4)
    space.protect(edge, PAGE_SIZE, NONE)
    start = element_start(space, ctype, 1, over_edge=False) - 2 * PAGE_SIZE
    space.write(start + width, bytes(edge - start - width))
    if edge - start - width == width:
        assert check_null_terminated(space, start, ctype, READ, 9) == 1
    space.write(start, pattern(edge - start))
    error = fault_of(lambda: check_null_terminated(space, start, ctype, READ, 9), "forbidden")
    assert (error.address, error.reason, error.signal) == (edge, FaultReason.REFUSED, None)


def test_only_needed_pages_are_asked_for() -> None:
    """Permission is asked a page at a time, in order, and no page after the terminator's is asked for or read."""
    with spaced() as space:
        space.map_alloc(space.base, 3 * PAGE_SIZE, RW)
        space.write(space.base, pattern(2 * PAGE_SIZE))
        asked = Recording(space.base, at(space, 3))
        assert check_null_terminated(asked, at(space, 1) - 2, ctypes.c_uint16, RW, 10**6) == PAGE_SIZE // 2 + 1
        asked_for = [(start, start + size) for _, start, size, _ in asked.calls]
        edges = [at(space, 1) - 2, at(space, 1), at(space, 2), at(space, 3)]
        assert asked_for == list(itertools.pairwise(edges))
        assert {flags for *_, flags in asked.calls} == {RW}


def test_runs_page_in_no_more_than_they_need(space: AddrSpace) -> None:
    """A run in a pager's area asks for its pages in order, up to the one that holds the end."""
    disk = Disk(pattern(2 * PAGE_SIZE + 9) + bytes(4 * PAGE_SIZE - 9))
    disk.map(space)
    assert check_null_terminated(space, disk.start, Three, READ, 10**6) == (2 * PAGE_SIZE + 9 + 2) // 3
    assert disk.asked == [(0, READ), (1, READ), (2, READ)]


def test_a_limit_of_no_elements_is_an_empty_run(space: AddrSpace) -> None:
    """As for strings, 0 finds nothing and touches nothing, wherever it is; a negative one is ValueError."""
    asked = Recording(0, 0)
    for start in (space.base, 0, END - 4):
        assert check_null_terminated(asked, start, ctypes.c_uint32, READ, 0) == 0
        assert len(UserPtr[ctypes.c_uint32](start).get_as_null_terminated(asked, limit=0)) == 0
        assert UserConstPtr[ctypes.c_char](start).get_as_str(asked, limit=0) == ""
        with pytest.raises(ValueError, match="no -1 elements"):
            check_null_terminated(asked, start, ctypes.c_uint32, READ, -1)
        with pytest.raises(ValueError, match="no -5 elements"):
            UserPtr[ctypes.c_uint32](start).get_as_null_terminated(asked, limit=-5)
    assert asked.calls == []


@pytest.mark.parametrize("missing", [READ, WRITE, MappingFlags.EXECUTE])
def test_a_refusal_names_the_access_that_is_missing(missing: MappingFlags, space: AddrSpace) -> None:
    """Of the accesses that are asked for, the error's is the one that the space does not allow."""
    every = RW | MappingFlags.EXECUTE
    start = space.map_alloc(None, PAGE_SIZE, every & ~missing).start
    error = fault_of(lambda: check_region(space, start, Layout(8, 8), every), str(missing))
    assert (error.access, error.reason, error.address) == (missing, FaultReason.REFUSED, start)


def test_misaligned_runs_are_refused_first(space: AddrSpace) -> None:
    """A run that does not start on its elements' alignment is MISALIGNED before the space is asked."""
    asked = Recording(0, 0)
    error = fault_of(lambda: check_null_terminated(asked, space.base + 1, ctypes.c_uint16, READ, 5), "misaligned")
    assert (error.reason, error.address, asked.calls) == (FaultReason.MISALIGNED, space.base + 1, [])


def test_elements_without_a_size_end_no_run(space: AddrSpace) -> None:
    """A structure of no bytes is TypeError instead of a scan without an end."""
    with pytest.raises(TypeError, match="Empty has no size"):
        check_null_terminated(space, space.base, Empty, READ, 5)


@pytest.mark.parametrize("start", [-PAGE_SIZE, 2**64 - PAGE_SIZE, 2**64, 2**70])
def test_runs_outside_memory_are_refused(start: int, space: AddrSpace) -> None:
    """A run at an address that no space has is a FaultError, in a space and in the process."""
    for where in (space, ProcessSpace()):
        fault_of(lambda where=where: check_null_terminated(where, start, ctypes.c_uint8, READ, 10**6), "out")  # type: ignore[misc]


def test_a_closed_space_refuses_every_check(space: AddrSpace) -> None:
    """After close() regions and runs are REFUSED."""
    space.close()
    error = fault_of(lambda: check_region(space, space.base, Layout(8, 8), READ), "region")
    assert error.reason is FaultReason.REFUSED
    error = fault_of(lambda: check_null_terminated(space, space.base, ctypes.c_uint8, READ, 5), "run")
    assert error.reason is FaultReason.REFUSED
