# SPDX-License-Identifier: MIT
"""Areas: how they are cut and joined, and that many of them stay right."""

import bisect
import random
from pathlib import Path

import pytest
from helpers_memory import READ, WRITE
from helpers_space import NONE, RW, at, layout, spaced

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags, VirtAddrRange
from axptr_native._areas import Area, AreaTable, Backing


def test_neighbours_that_are_alike_are_one_area() -> None:
    """Anonymous memory mapped beside its like joins on both sides."""
    with spaced() as space:
        space.map_alloc(at(space, 1), PAGE_SIZE, RW)
        space.map_alloc(at(space, 3), PAGE_SIZE, RW)
        assert layout(space) == [(1, 1, RW), (3, 1, RW)]
        space.map_alloc(at(space, 2), PAGE_SIZE, RW)
        assert layout(space) == [(1, 3, RW)]


def test_neighbours_with_other_flags_stay_apart() -> None:
    """Areas that allow different accesses do not join until they allow the same."""
    with spaced() as space:
        space.map_alloc(at(space, 0), PAGE_SIZE, RW)
        space.map_alloc(at(space, 1), PAGE_SIZE, READ)
        assert layout(space) == [(0, 1, RW), (1, 1, READ)]
        space.protect(at(space, 0), PAGE_SIZE, READ)
        assert layout(space) == [(0, 2, READ)]


def test_files_join_only_where_the_offsets_go_on(tmp_path: Path) -> None:
    """Two mappings of a file stay two, and what was cut from one mapping joins again."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE_SIZE))
    with spaced() as space, path.open("rb") as file:
        space.map_file(at(space, 0), file, 2 * PAGE_SIZE, READ)
        space.map_file(at(space, 2), file, 2 * PAGE_SIZE, READ, offset=2 * PAGE_SIZE)
        assert layout(space) == [(0, 2, READ), (2, 2, READ)]
        space.protect(at(space, 1), PAGE_SIZE, NONE)
        assert layout(space) == [(0, 1, READ), (1, 1, NONE), (2, 2, READ)]
        space.protect(at(space, 1), PAGE_SIZE, READ)
        assert layout(space) == [(0, 2, READ), (2, 2, READ)]


@pytest.mark.parametrize(
    ("first", "pages", "left"),
    [
        (2, 4, []),
        (2, 1, [(3, 3)]),
        (5, 1, [(2, 3)]),
        (3, 2, [(2, 1), (5, 1)]),
        (0, 3, [(3, 3)]),
        (0, 8, []),
        (6, 2, [(2, 4)]),
        (0, 2, [(2, 4)]),
    ],
)
def test_unmap_leaves_what_lies_outside(first: int, pages: int, left: list[tuple[int, int]]) -> None:
    """Unmapping a part of an area in [2, 6) leaves just the rest, on either side."""
    with spaced() as space:
        space.map_alloc(at(space, 2), 4 * PAGE_SIZE, RW)
        space.unmap(at(space, first), pages * PAGE_SIZE)
        assert layout(space) == [(page, count, RW) for page, count in left]


def test_unmap_takes_several_areas_and_holes_at_once() -> None:
    """One unmap over ends of two areas, an area between and holes leaves the two outer parts."""
    with spaced(10) as space:
        for page, count, flags in ((0, 3, RW), (4, 1, READ), (6, 3, WRITE)):
            space.map_alloc(at(space, page), count * PAGE_SIZE, flags)
        space.unmap(at(space, 2), 5 * PAGE_SIZE)
        assert layout(space) == [(0, 2, RW), (7, 2, WRITE)]


def test_protect_cuts_three_ways_and_joins_again() -> None:
    """Protecting the middle of an area makes three, and taking it back makes one."""
    with spaced() as space:
        space.map_alloc(at(space, 0), 6 * PAGE_SIZE, RW)
        space.protect(at(space, 2), 2 * PAGE_SIZE, READ)
        assert layout(space) == [(0, 2, RW), (2, 2, READ), (4, 2, RW)]
        space.protect(at(space, 1), 4 * PAGE_SIZE, RW)
        assert layout(space) == [(0, 6, RW)]


def test_protect_spans_areas() -> None:
    """One protect over parts of three areas gives all of it the same flags."""
    with spaced() as space:
        for page, flags in ((0, RW), (2, READ), (4, WRITE)):
            space.map_alloc(at(space, page), 2 * PAGE_SIZE, flags)
        space.protect(at(space, 1), 4 * PAGE_SIZE, NONE)
        assert layout(space) == [(0, 1, RW), (1, 4, NONE), (5, 1, WRITE)]


def test_areas_are_values_of_a_moment() -> None:
    """What areas() returned stays as it was when the space changes, and its repr names range and flags."""
    with spaced() as space:
        mapped = space.map_alloc(None, PAGE_SIZE, RW)
        (area,) = space.areas()
        space.clear()
        assert (area.range, area.flags, space.areas()) == (mapped, RW, ())
        assert str(mapped.start) in repr(area)
        assert repr(RW) in repr(area)


def test_a_hundred_thousand_areas_are_found_right() -> None:
    """Among 100,000 areas with holes between runs, every look-up says what a plain list of pages says."""
    count, run = 100_000, 1000
    pages = [number + number // run for number in range(count)]
    backing = Backing()  # with offsets that never go on, so that no two areas join
    areas = [Area(VirtAddrRange.from_start_size(page * PAGE_SIZE, PAGE_SIZE), RW, backing, 0) for page in pages]
    end = (pages[-1] + 1) * PAGE_SIZE
    table = AreaTable()
    table.replace(0, end, areas)
    assert sum(1 for _ in table) == count
    chosen = random.Random(1)
    for _ in range(3000):
        first, size = chosen.randrange(pages[-1] - 3), chosen.randrange(1, 4)
        where = bisect.bisect_left(pages, first)
        inside = areas[where : bisect.bisect_left(pages, first + size)]
        start, stop = first * PAGE_SIZE, (first + size) * PAGE_SIZE
        assert table.overlapping(start, stop) == inside, (first, size)
        assert table.covers(start, stop) is (len(inside) == size), (first, size)
        assert table.find(start + 7) is (areas[where] if pages[where] == first else None), first
    assert table.free(1500 * PAGE_SIZE, end, PAGE_SIZE, PAGE_SIZE) == (2 * run + 1) * PAGE_SIZE
    assert table.free(0, end, 2 * PAGE_SIZE, PAGE_SIZE) is None


def test_thousands_of_mapped_areas_answer_for_themselves(tmp_path: Path) -> None:
    """Of 3,000 areas over one file, each reads its own page and allows what it was mapped for."""
    count = 3000
    path = tmp_path / "file"
    with path.open("wb+") as file, AddrSpace(count * PAGE_SIZE) as space:
        for number in range(count):
            file.seek(number * PAGE_SIZE)
            file.write(number.to_bytes(PAGE_SIZE, "little"))
        file.flush()
        # Mappings that go on where the last one ended are areas to the space, and one mapping to the system.
        for number in range(count):
            space.map_file(at(space, number), file, PAGE_SIZE, READ, offset=number * PAGE_SIZE)
        assert len(space.areas()) == count
        for number in range(0, count, 7):
            assert space.read(at(space, number), 8) == number.to_bytes(8, "little")
        whole = VirtAddrRange(space.base, space.end)
        assert space.check_region_access(whole, READ)
        space.protect(at(space, count // 2), PAGE_SIZE, NONE)
        assert not space.check_region_access(whole, READ)


@pytest.mark.parametrize("flags", [NONE, READ, WRITE, RW, MappingFlags.EXECUTE, READ | MappingFlags.EXECUTE])
def test_access_is_what_the_flags_say(flags: MappingFlags) -> None:
    """check_region_access is True for just the subsets of an area's flags."""
    with spaced() as space:
        mapped = space.map_alloc(None, PAGE_SIZE, flags)
        for bits in range(8):
            asked = MappingFlags(bits)
            assert space.check_region_access(mapped, asked) is (asked & flags == asked), asked
