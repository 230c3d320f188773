# SPDX-License-Identifier: MIT
"""AddrSpace: what it maps, what it refuses without a change, and how it ends."""

import contextlib
import copy
import errno
import gc
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers_lines import LINES, before_line
from helpers_memory import READ, WRITE, fault_of, pattern
from helpers_python import let_go
from helpers_space import NONE, RW, at, layout, spaced, unchanged

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, VirtAddrRange, uaccess
from axptr_native._memory import map_memory, unmap_memory
from axptr_native._native import ADDRESS_MAX

Operation = Callable[[AddrSpace, Any, Any], object]

PLACED: dict[str, Operation] = {
    "map_alloc": lambda space, start, size: space.map_alloc(start, size, RW),
    "map_file": lambda space, start, size: space.map_file(start, 0, size, READ),
    "map_pager": lambda space, start, size: space.map_pager(start, size, RW, lambda _page, _access: None),
    "unmap": lambda space, start, size: space.unmap(start, size),
    "protect": lambda space, start, size: space.protect(start, size, READ),
    "populate_area": lambda space, start, size: space.populate_area(start, size, READ),
    "evict": lambda space, start, size: space.evict(start, size),
}
BAD_PLACES: dict[str, tuple[int, int]] = {
    "unaligned start": (1, PAGE_SIZE),
    "unaligned size": (0, PAGE_SIZE + 1),
    "no size": (0, 0),
    "negative size": (PAGE_SIZE, -PAGE_SIZE),
    "before the space": (-PAGE_SIZE, PAGE_SIZE),
    "across the start": (-PAGE_SIZE, 2 * PAGE_SIZE),
    "across the end": (7 * PAGE_SIZE, 2 * PAGE_SIZE),
    "after the space": (8 * PAGE_SIZE, PAGE_SIZE),
    "larger than the space": (0, 9 * PAGE_SIZE),
    "overflowing size": (0, 2**64),
    "overflowing start": (2**64, PAGE_SIZE),
    "negative address": (-(2**63), PAGE_SIZE),
}


@pytest.fixture
def space() -> Iterator[AddrSpace]:
    """A space of eight pages, of which 1 and 2 are mapped and hold a pattern, and 5 is read-only."""
    with spaced() as made:
        made.map_alloc(at(made, 1), 2 * PAGE_SIZE, RW)
        made.map_alloc(at(made, 5), PAGE_SIZE, READ)
        made.write(at(made, 1), pattern(2 * PAGE_SIZE))
        yield made


@contextlib.contextmanager
def fails(number: int, space: AddrSpace) -> Iterator[None]:
    """Assert that an operation is that OSError and changes nothing."""
    with unchanged(space), pytest.raises(OSError, match=os.strerror(number)) as raised:
        yield
    assert raised.value.errno == number


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("operation", PLACED)
def test_places_that_are_none_are_einval(operation: str, place: str, space: AddrSpace) -> None:
    """Every operation on a range refuses one that is not whole pages of the space, and changes nothing."""
    start, size = BAD_PLACES[place]
    with fails(errno.EINVAL, space):
        PLACED[operation](space, space.base + start, size)


@pytest.mark.parametrize("operation", PLACED)
def test_places_of_another_type_are_type_errors(operation: str, space: AddrSpace) -> None:
    """An address or a size that is no integer is TypeError, and nothing is changed."""
    for start, size in ((str(space.base), PAGE_SIZE), (at(space, 0), "1"), (at(space, 0), float(PAGE_SIZE))):
        with unchanged(space), pytest.raises(TypeError):
            PLACED[operation](space, start, size)


@pytest.mark.parametrize("operation", [name for name in PLACED if name.startswith("map_")])
def test_overlaps_are_eexist(operation: str, space: AddrSpace) -> None:
    """Mapping over what is mapped, in whole or in part, is EEXIST and changes nothing."""
    for page, pages in ((1, 1), (0, 2), (2, 2), (0, 8), (1, 2)):
        with fails(errno.EEXIST, space):
            PLACED[operation](space, at(space, page), pages * PAGE_SIZE)


@pytest.mark.parametrize("operation", [name for name in PLACED if name.startswith("map_")])
def test_no_room_is_enomem(operation: str, space: AddrSpace) -> None:
    """Mapping anywhere what fits nowhere is ENOMEM and changes nothing."""
    with fails(errno.ENOMEM, space):
        PLACED[operation](space, None, 3 * PAGE_SIZE)


@pytest.mark.parametrize("operation", ["protect", "populate_area"])
def test_holes_are_enomem(operation: str, space: AddrSpace) -> None:
    """What needs every page mapped is ENOMEM for a hole at either end or between, and changes nothing."""
    for page, pages in ((0, 2), (2, 2), (1, 5), (3, 1)):
        with fails(errno.ENOMEM, space):
            PLACED[operation](space, at(space, page), pages * PAGE_SIZE)


@pytest.mark.parametrize("size", [0, -PAGE_SIZE, 1, PAGE_SIZE + 1, 2**64, 2**64 + PAGE_SIZE])
def test_a_space_of_no_pages_is_einval(size: int) -> None:
    """AddrSpace takes a positive multiple of the page size that an address can hold."""
    with pytest.raises(OSError, match="not a positive multiple") as raised:
        AddrSpace(size)
    assert raised.value.errno == errno.EINVAL


def test_a_space_that_is_too_large_is_enomem() -> None:
    """A size that the system has no room for is its ENOMEM."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as raised:
        AddrSpace(2**62 if ADDRESS_MAX >> 32 else 2**32 - PAGE_SIZE)
    assert raised.value.errno == errno.ENOMEM


def test_new_memory_is_zero_and_takes_what_is_written(space: AddrSpace) -> None:
    """map_alloc gives zeros that hold what is written, populated or not, also where something else was before."""
    for populate in (False, True):
        space.unmap(space.base, space.size)
        mapped = space.map_alloc(None, 3 * PAGE_SIZE, RW, populate=populate)
        assert mapped == VirtAddrRange.from_start_size(space.base, 3 * PAGE_SIZE)
        assert space.read(mapped.start, mapped.size) == bytes(mapped.size)
        data = pattern(mapped.size)
        space.write(mapped.start, data)
        assert space.read(mapped.start, mapped.size) == data


def test_maps_go_to_the_first_room(space: AddrSpace) -> None:
    """A map without an address takes the lowest hole that is large enough."""
    assert space.map_alloc(None, 2 * PAGE_SIZE, READ).start == at(space, 3)
    assert space.map_alloc(None, PAGE_SIZE, READ).start == at(space, 0)
    assert space.map_alloc(None, 2 * PAGE_SIZE, READ).start == at(space, 6)


@pytest.mark.parametrize(
    ("hint", "pages", "align", "expected"),
    [
        (0, 1, 1, 0),
        (0, 2, 1, 3),
        (1, 1, 1, 3),
        (4, 1, 1, 4),
        (4, 2, 1, 6),
        (7, 2, 1, 3),
        (7, 1, 1, 7),
        (8, 1, 1, 0),
        (2**40, 1, 1, 0),
        (-(2**40), 1, 1, 0),
        (0, 3, 1, None),
        (0, 9, 1, None),
    ],
)
def test_free_areas_are_found_from_the_hint_on(
    hint: int, pages: int, align: int, expected: int | None, space: AddrSpace
) -> None:
    """find_free_area returns the first room from the hint on, then any, or None, and maps nothing."""
    with unchanged(space):
        found = space.find_free_area(at(space, hint), pages * PAGE_SIZE, None, align * PAGE_SIZE)
    assert found == (None if expected is None else at(space, expected))


def test_free_areas_keep_to_limit_and_alignment(space: AddrSpace) -> None:
    """find_free_area stays within the limit and returns a multiple of the alignment."""

    def found(first: int, last: int, size: int = PAGE_SIZE) -> int | None:
        return space.find_free_area(space.base, size, VirtAddrRange(at(space, first), at(space, last)))

    assert (found(1, 8), found(1, 3), found(1, 4, 2 * PAGE_SIZE), found(20, 30)) == (at(space, 3), None, None, None)
    within = VirtAddrRange(at(space, 3) + 1, at(space, 7) - 1)
    assert space.find_free_area(space.base, PAGE_SIZE, within) == at(space, 4)
    with spaced(64) as large:
        large.map_alloc(large.base, PAGE_SIZE, READ)
        for align in (PAGE_SIZE, 2 * PAGE_SIZE, 16 * PAGE_SIZE):
            address = large.find_free_area(large.base, PAGE_SIZE, None, align)
            assert address is not None
            assert address % align == 0
            assert large.base < address <= large.base + align
    for size, align in ((0, PAGE_SIZE), (-PAGE_SIZE, PAGE_SIZE), (1, PAGE_SIZE), (PAGE_SIZE, 1), (PAGE_SIZE, 0)):
        with fails(errno.EINVAL, space):
            space.find_free_area(space.base, size, None, align)
    with fails(errno.EINVAL, space):
        space.find_free_area(space.base, PAGE_SIZE, None, 3 * PAGE_SIZE)


def test_ranges_are_contained_up_to_both_ends(space: AddrSpace) -> None:
    """contains_range is True for just the ranges that leave the space on no side, mapped or not."""
    inside = [(0, 0), (0, space.size), (space.size, 0), (1, 3), (space.size - 1, 1)]
    outside = [(-1, 1), (0, space.size + 1), (space.size, 1), (space.size + 1, 0), (0, -1), (5, 2**64)]
    assert all(space.contains_range(space.base + start, size) for start, size in inside)
    assert not any(space.contains_range(space.base + start, size) for start, size in outside)


def test_access_needs_every_page(space: AddrSpace) -> None:
    """check_region_access is False as soon as one byte is outside, unmapped, or does not allow it."""

    def allowed(start: int, size: int, flags: MappingFlags) -> bool:
        return space.check_region_access(VirtAddrRange.from_start_size(space.base + start, size), flags)

    page = PAGE_SIZE
    assert allowed(page, 2 * page, RW)
    assert allowed(page + 7, 2 * page - 7, RW)
    assert not allowed(page, 2 * page + 1, READ)
    assert not allowed(page - 1, 2, READ)
    assert not allowed(0, 1, NONE)
    assert allowed(5 * page, page, READ)
    assert not allowed(5 * page, 1, WRITE)
    assert not allowed(-1, 1, READ)
    assert not allowed(space.size, 1, READ)


@pytest.mark.parametrize("operation", [*PLACED, "find_free_area", "clear"])
def test_a_closed_space_does_nothing_more(operation: str, space: AddrSpace) -> None:
    """Whatever would change or search a closed space is ValueError."""
    space.close()
    extra: dict[str, Callable[[], object]] = {
        "find_free_area": lambda: space.find_free_area(space.base, PAGE_SIZE),
        "clear": space.clear,
    }
    act = extra.get(operation, lambda: PLACED[operation](space, space.base, PAGE_SIZE))
    with pytest.raises(ValueError, match="the address space is closed"):
        act()
    assert space.closed
    assert space.areas() == ()


def test_closing_takes_every_access_away(space: AddrSpace) -> None:
    """After close(), which may be called again, reads and writes fault and nothing is allowed."""
    space.close()
    space.close()
    error = fault_of(lambda: space.read(at(space, 1), 8), "read after close")
    assert (error.address, error.reason, error.transferred) == (at(space, 1), FaultReason.NOT_PERMITTED, 0)
    assert fault_of(lambda: space.write(at(space, 1), b"x"), "write after close").access == WRITE
    fault_of(lambda: uaccess.copy_from_user(at(space, 1), 1), "verb after close")
    assert not space.check_region_access(VirtAddrRange(at(space, 1), at(space, 2)), NONE)
    assert not space.handle_page_fault(at(space, 1), READ)
    assert "closed" in repr(space)
    assert space.contains_range(space.base, space.size)


def test_a_closed_space_allows_not_even_an_empty_range(space: AddrSpace) -> None:
    """check_region_access is False for everything once the space is closed."""
    space.close()
    assert not space.check_region_access(VirtAddrRange(space.base, space.base), READ)


def test_leaving_the_block_closes_also_on_exceptions() -> None:
    """A space is closed when its block ends by an exception, which comes out."""
    with pytest.raises(KeyError, match="mine"), spaced() as space:
        raise KeyError(space.map_alloc(None, PAGE_SIZE, RW) and "mine")
    assert space.closed
    fault_of(lambda: space.read(space.base, 1), "read after the block")


def test_a_cleared_space_can_be_used_again(space: AddrSpace) -> None:
    """clear() unmaps everything, and what is mapped then is zero."""
    space.clear()
    assert space.areas() == ()
    fault_of(lambda: space.read(at(space, 1), 1), "read after clear")
    space.map_alloc(at(space, 1), PAGE_SIZE, RW)
    assert space.read(at(space, 1), PAGE_SIZE) == bytes(PAGE_SIZE)


def test_addresses_of_another_space_are_out_of_range(space: AddrSpace) -> None:
    """Reads and writes refuse what does not lie wholly in the space before they touch anything."""
    with spaced() as other:
        mapped = other.map_alloc(None, PAGE_SIZE, RW)
        assert not space.check_region_access(mapped, READ)
        for start, size in ((mapped.start, 1), (space.base - 1, 2), (space.end - 1, 2), (-1, 1), (2**64, 1)):
            error = fault_of(lambda s=start, n=size: space.read(s, n), "read outside")  # type: ignore[misc]
            assert (error.reason, error.access, error.signal) == (FaultReason.OUT_OF_RANGE, READ, None)
            error = fault_of(lambda s=start, n=size: space.write(s, bytes(n)), "write outside")  # type: ignore[misc]
            assert (error.reason, error.access, error.size) == (FaultReason.OUT_OF_RANGE, WRITE, size)


def test_faults_of_a_space_are_exact(space: AddrSpace) -> None:
    """Reads and writes over the end of an area say how much was done, why and where they stopped."""
    error = fault_of(lambda: space.read(at(space, 3) - 5, 9), "read into a hole")
    assert (error.address, error.transferred, error.reason) == (at(space, 3), 5, FaultReason.NOT_PERMITTED)
    error = fault_of(lambda: space.write(at(space, 3) - 5, bytes(9)), "write into a hole")
    assert (error.address, error.transferred, error.access) == (at(space, 3), 5, WRITE)
    assert space.read(at(space, 3) - 6, 6) == pattern(2 * PAGE_SIZE)[-6:-5] + bytes(5)
    assert fault_of(lambda: space.write(at(space, 5), b"x"), "write to read-only").transferred == 0


def test_other_mappings_stay_out_of_a_living_space() -> None:
    """While a space lives, open or closed, nothing that the system places itself lies in it."""
    spaces = [AddrSpace(64 * PAGE_SIZE) for _ in range(4)]
    spaces[0].map_alloc(None, 64 * PAGE_SIZE, RW)
    spaces[0].clear()
    spaces[1].close()
    starts = [map_memory(PAGE_SIZE, flags) for flags in (READ, RW) * 1000]
    try:
        assert not any(space.contains_range(start, 1) for start in starts for space in spaces)
    finally:
        for start in starts:
            unmap_memory(start, PAGE_SIZE)
    for space in spaces:
        error = fault_of(lambda s=space: uaccess.copy_from_user(s.base, 1), "reserved")  # type: ignore[misc]
        assert error.reason is FaultReason.NOT_PERMITTED


def test_addresses_are_given_back_with_the_space() -> None:
    """The reservation goes when nobody holds the space any more, closed or not."""
    for close in (True, False):
        space = AddrSpace(1 << 26)
        space.map_alloc(None, PAGE_SIZE, RW)
        base = int(space.base)
        if close:
            space.close()
        del space
        gc.collect()
        with pytest.raises(FaultError) as raised:
            uaccess.copy_from_user(base, 1)
        assert raised.value.reason is FaultReason.NOT_MAPPED


@pytest.mark.parametrize("keep", [False, True], ids=["let go", "kept"])
def test_finalizers_in_a_cycle_with_a_space_still_have_it(keep: bool) -> None:
    """The collector takes a space's addresses away after all finalizers, and not at all if one of them keeps it."""
    kept: list[AddrSpace] = []
    found: list[bytes] = []

    class Owner:
        def __init__(self) -> None:
            self.space = AddrSpace(1 << 30)
            self.start = self.space.map_alloc(None, PAGE_SIZE, RW).start
            self.space.write(self.start, b"mine")
            vars(self.space)["owner"] = self

        def __del__(self) -> None:
            found.append(self.space.read(self.start, 4))
            kept.extend([self.space] * keep)

    start = Owner().start
    gc.collect()
    let_go()
    assert found == [b"mine"]
    if keep:
        assert kept[0].read(start, 4) == b"mine"
        del vars(kept.pop())["owner"]
    let_go()
    with pytest.raises(FaultError) as raised:
        uaccess.copy_from_user(start, 1)
    assert raised.value.reason is FaultReason.NOT_MAPPED


@pytest.mark.parametrize("kind", ["map_alloc", "map_pager"])
def test_a_map_that_is_interrupted_leaves_nothing_mapped(kind: str, space: AddrSpace) -> None:
    """After a KeyboardInterrupt anywhere in the system's call, before it or after, there is no area and no access."""

    def interrupt() -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    interrupted: list[int] = []
    start = at(space, 7)
    gc.collect()  # the finalizers of others are not to be interrupted
    arguments = [lambda _page, _access: bytes(PAGE_SIZE)] if kind == "map_pager" else []
    for number in range(LINES):
        with unchanged(space):
            try:
                with before_line(number, interrupt, within="_memory.py"):
                    getattr(space, kind)(start, PAGE_SIZE, RW, *arguments)
            except KeyboardInterrupt:
                pass
            else:
                space.unmap(start, PAGE_SIZE)
            assert fault_of(lambda: uaccess.copy_from_user(start, 1), kind).reason is FaultReason.NOT_PERMITTED
    assert interrupted


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_space_is_not_copied(duplicate: Callable[[object], object], space: AddrSpace) -> None:
    """A copy would outlive what holds the addresses: copying and pickling are TypeError."""
    with unchanged(space), pytest.raises(TypeError, match="neither copied nor pickled"):
        duplicate(space)


def test_an_address_space_lends_itself(space: AddrSpace) -> None:
    """with_addr_space returns what the function makes of the space, and lets its exception out."""
    assert space.with_addr_space(lambda lent: (lent, 5)) == (space, 5)
    with pytest.raises(ZeroDivisionError):
        space.with_addr_space(lambda lent: lent.size // 0)
    assert (space.end - space.base, space.size) == (space.size, 8 * PAGE_SIZE)


def test_layout_helpers_see_what_is_there(space: AddrSpace) -> None:
    """The fixture's areas are the ones that were mapped, in order."""
    assert layout(space) == [(1, 2, RW), (5, 1, READ)]
