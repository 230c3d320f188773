# SPDX-License-Identifier: MIT
"""Accesses of many bytes are as exact: those that drop the GIL, or jump, and those that no memory has room for."""

import ctypes
import mmap
from collections.abc import Callable
from functools import partial

import pytest
from helpers_memory import END, READ, WRITE, fault_of, faulted, pattern, poke, resumed, seen

from axptr_native import PAGE_SIZE, MappingFlags, uaccess
from axptr_native._native import ADDRESS_MAX
from axptr_native._regions import Ending, Region, ending_memory


@pytest.mark.parametrize("good", [0, 1, 63, 4000, PAGE_SIZE, PAGE_SIZE + 1])
def test_a_size_without_room_still_finds_the_first_bad_byte(good: int, ending: Ending, region: Region) -> None:
    """Sizes that no bytes object can have fault where memory ends, or return the prefix if that is asked for."""
    content = pattern(2 * PAGE_SIZE)
    poke(region.start, content)
    start = region.edge - good
    sizes = [END // 2 - 1, END // 2, END - start]
    if ADDRESS_MAX >> 32:  # of 32 bits a quarter is memory that there may be
        sizes.append(END // 4)
    for size in (size for size in sizes if start + size <= END):
        error = fault_of(partial(uaccess.copy_from_user, start, size), f"{size} bytes")
        assert seen(error) == faulted(region.edge, good, ending.value, READ), f"{size} bytes"
        assert error.size == size
        assert uaccess.copy_from_user(start, size, partial=True) == content[len(content) - good :], f"{size} bytes"


LARGE: dict[str, tuple[MappingFlags, Callable[[int, int], object]]] = {
    "copy_from_user": (READ, uaccess.copy_from_user),
    "copy_from_user_into": (READ, lambda addr, size: uaccess.copy_from_user_into(addr, bytearray(size))),
    "copy_to_user": (WRITE, lambda addr, size: uaccess.copy_to_user(addr, pattern(size))),
    "copy_in_user": (READ, lambda addr, size: uaccess.copy_in_user(addr - 5, addr, size)),
    "clear_user": (WRITE, uaccess.clear_user),
    "copy_struct_from_user": (READ, lambda addr, size: uaccess.copy_struct_from_user(addr, size, ctypes.c_uint64)),
    "check_zeroed_user": (READ, uaccess.check_zeroed_user),
    "find_in_user": (READ, lambda addr, size: uaccess.find_in_user(addr, size, b"\xff")),
    "strnlen_user": (READ, uaccess.strnlen_user),
    "strncpy_from_user": (READ, uaccess.strncpy_from_user),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_accesses_that_drop_the_gil_are_as_exact(name: str, ending: Ending) -> None:
    """Beyond 1 MiB the fields are the same."""
    access, run = LARGE[name]
    large = (2 << 20) // PAGE_SIZE * PAGE_SIZE
    with ending_memory(ending, good=large) as region:
        if name.startswith("str"):
            poke(region.start, pattern(large))
        error = fault_of(partial(run, region.start + 5, large - 4), name)
        assert seen(error) == faulted(region.edge, large - 5, ending.value, access)
        assert error.size == large - 4


def test_a_page_that_a_search_could_skip_is_still_an_end(ending: Ending) -> None:
    """A long needle is not found behind a bad page, however far the search could jump."""
    needle = pattern(2 * PAGE_SIZE)
    before = max(mmap.ALLOCATIONGRANULARITY - 2 * PAGE_SIZE, PAGE_SIZE)  # so that what follows a hole can be mapped
    with ending_memory(ending, good=PAGE_SIZE, bad=6 * PAGE_SIZE, before=before) as region:
        at = region.edge - 100
        with resumed(region.edge + PAGE_SIZE, region, ending):
            poke(at + 2 * PAGE_SIZE, needle)
            error = fault_of(partial(uaccess.find_in_user, at, region.end - at, needle), "needle behind a bad page")
            assert seen(error) == faulted(region.edge, 100, ending.value, READ)
