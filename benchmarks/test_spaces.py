# SPDX-License-Identifier: MIT
"""What pointers, views, look-ups and demand paging cost, against ctypes and memoryview, which may crash."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import pytest
from interleave import python
from units import in_bytes

from axptr_native import PAGE_SIZE, AddrSpace, GuardedView, MappingFlags, UserPtr, VirtAddrRange
from axptr_native.uaccess import get_user

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare

pytest_plugins = ("recording", "comparing")
PART = "Pointers, views and spaces"

READ, READ_WRITE = MappingFlags.READ, MappingFlags.READ | MappingFlags.WRITE


def test_pointers(compare: Compare, bars: Bars) -> None:
    """An int through a pointer, a held reference and a slice."""
    with AddrSpace(PAGE_SIZE) as space:
        area = space.map_alloc(None, PAGE_SIZE, READ_WRITE)
        pointer = UserPtr[ctypes.c_int](area.start)
        names: dict[str, Any] = {
            "addr": int(area.start),
            "c_int": ctypes.c_int,
            "get_user": get_user,
            "typed": UserPtr[ctypes.c_int],
            "space": space,
            "ref": pointer.get(space),
            "array": pointer.get_as_slice(space, 64),
        }
        samples = compare(
            "An int",
            {
                "get_user": python("get_user(addr, c_int)", **names),
                "c_int.from_address().value": python("c_int.from_address(addr).value", **names),
                "UserRef.value, held": python("ref.value", **names),
                "UserSlice[3], held": python("array[3]", **names),
                "UserPtr().get(space).value": python("typed(addr).get(space).value", **names),
            },
        )
    bars.seconds("UserPtr[c_int](addr).get(space).value", samples, "UserPtr().get(space).value", at_most=1e-6)
    bars.ratio("UserRef.value", samples, "UserRef.value, held", to="get_user", at_most=3)


@pytest.mark.parametrize("size", [64, 4096, 1 << 20])
def test_view(compare: Compare, bars: Bars, size: int) -> None:
    """A slice of a buffer as bytes."""
    data = bytearray(2 * size)
    names: dict[str, Any] = {"plain": memoryview(data), "guarded": GuardedView(data), "size": size}
    samples = compare(
        "A slice of a buffer, as bytes",
        {
            "bytes(memoryview[i:j])": python("bytes(plain[10:10 + size])", **names),
            "GuardedView[i:j]": python("guarded[10:10 + size]", **names),
        },
        column=in_bytes(size),
    )
    if size == 4096:
        operation = f"GuardedView[i:j] of {in_bytes(size)}"
        bars.ratio(operation, samples, "GuardedView[i:j]", to="bytes(memoryview[i:j])", at_most=2)


def test_look_up(compare: Compare, bars: Bars) -> None:
    """Whether a page may be accessed, among more and more areas."""
    spaces = {}
    for count in (10, 100, 1000, 100_000):
        # Of a pager that nobody has touched, so that the system sees one mapping however many areas there are.
        spaces[count] = space = AddrSpace(2 * count * PAGE_SIZE)
        whole = space.map_pager(space.base, count * PAGE_SIZE, READ, lambda *_: None)
        for page in range(whole.start, whole.end, 2 * PAGE_SIZE):
            space.protect(page, PAGE_SIZE, READ_WRITE)
    middle = {
        count: VirtAddrRange.from_start_size(space.base + count // 2 * PAGE_SIZE, PAGE_SIZE)
        for count, space in spaces.items()
    }
    samples = compare(
        "check_region_access, among more and more areas",
        {
            f"{count:,} areas": python(
                "check(region, flags)", check=space.check_region_access, region=middle[count], flags=READ
            )
            for count, space in spaces.items()
        },
    )
    assert [len(space.areas()) for space in spaces.values()] == list(spaces)
    bars.ratio("check_region_access", samples, "100,000 areas", to="100 areas", at_most=3)


def test_paging(compare: Compare) -> None:
    """A page that comes in and goes out again, against the pager's own time and one that is in."""
    content = bytes(PAGE_SIZE)

    def pager(*_: object) -> bytes:
        return content

    with AddrSpace(2 * PAGE_SIZE) as space:
        page = space.map_pager(None, 2 * PAGE_SIZE, READ, pager).start
        names: dict[str, Any] = {"page": page, "size": PAGE_SIZE, "space": space, "pager": pager, "READ": READ}
        compare(
            "A page of a pager",
            {
                "the pager alone": python("pager(page, READ)", **names),
                "a read of one that is in": python("space.read(page + size, 8)", **names),
                "fault, pager, read, evict": python("space.read(page, 8); space.evict(page, size)", **names),
            },
        )
