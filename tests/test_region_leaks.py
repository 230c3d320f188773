# SPDX-License-Identifier: MIT
"""What is left of the testing kit's memory when its blocks have ended: nothing."""

import ctypes
import mmap

import pytest
from helpers_memory import WRITE, fault_of, faulted, pattern, poke, seen
from helpers_regions import MAKERS, left, needs_maps
from helpers_space import in_threads, uncollected

from axptr_native import PAGE_SIZE, uaccess
from axptr_native._memory import READ_WRITE, map_memory, unmap_memory
from axptr_native._native import MAP_FIXED
from axptr_native.testing import hole

pytestmark = needs_maps

DATA = b"some bytes at an edge"


@pytest.mark.parametrize("name", MAKERS)
@uncollected()
def test_nothing_is_left_of_a_region(name: str) -> None:
    """After its block, one that raised too, mappings and open files are those of before."""
    before = left()
    for _ in range(3):
        with MAKERS[name](DATA) as region:
            assert left() != before
            region.view()[:]
        assert left() == before
    with pytest.raises(ZeroDivisionError), MAKERS[name](DATA):
        raise ZeroDivisionError
    assert left() == before
    MAKERS[name](DATA)  # never entered
    assert left() == before


def test_what_somebody_else_puts_into_a_hole_stays() -> None:
    """The end of a region with a hole unmaps the region's own memory alone."""
    with hole() as region:
        at = map_memory(mmap.ALLOCATIONGRANULARITY, READ_WRITE, start=int(region.edge), options=MAP_FIXED)
        poke(at, b"somebody else's")
    assert uaccess.copy_from_user(at, 15) == b"somebody else's"
    unmap_memory(at, mmap.ALLOCATIONGRANULARITY)


@uncollected()
def test_regions_in_eight_threads_fault_for_themselves_and_are_gone() -> None:
    """Each thread's regions have its data and its faults, and afterwards nothing is left of any."""
    before = left()

    def work(number: int) -> None:
        data = pattern(PAGE_SIZE + number, first=number)
        for name, make in list(MAKERS.items()) * 5:
            with make(data) as region:
                assert region.view()[:] == data[: region.size]
                error = fault_of(lambda: uaccess.put_user(region.edge, ctypes.c_uint8, 1), name)
                assert seen(error) == faulted(region.edge, 0, region.reason, WRITE)

    in_threads(*(lambda number=number: work(number) for number in range(8)))
    assert left() == before
