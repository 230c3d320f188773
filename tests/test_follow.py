# SPDX-License-Identifier: MIT
"""Pointers to pointers: what follow() reads, checks and refuses."""

import ctypes
import errno
from collections.abc import Iterator
from ctypes import POINTER, c_char, c_char_p, c_int, c_size_t, c_void_p, c_wchar, c_wchar_p
from typing import Any

import pytest
from helpers_memory import END, READ, WRITE, fault_of, good_memory, poke
from helpers_space import NONE, RW, Disk, at, spaced
from test_ptr import FAMILIES, Noting

from axptr_native import PAGE_SIZE, AddrSpace, FaultReason, UserConstPtr, UserPtr, VirtAddrRange


class Node(ctypes.Structure):
    pass


Node._fields_ = [("next", POINTER(Node)), ("name", c_char_p), ("data", c_void_p)]

TARGETS: list[tuple[type[Any], type[Any]]] = [
    (POINTER(c_int), c_int),
    (POINTER(Node), Node),
    (POINTER(c_int * 3), c_int * 3),
    (POINTER(POINTER(c_int)), POINTER(c_int)),
    (POINTER(c_void_p), c_void_p),
    (c_char_p, c_char),
    (c_wchar_p, c_wchar),
]
NO_TARGETS: list[type[Any]] = [c_void_p, ctypes.CFUNCTYPE(c_int), c_int, c_size_t, c_char, Node, c_int * 2]


@pytest.fixture
def space() -> Iterator[AddrSpace]:
    """A space of eight pages, the first of which is mapped and the second read-only."""
    with spaced() as made:
        made.map_alloc(at(made, 0), PAGE_SIZE, RW)
        made.map_alloc(at(made, 1), PAGE_SIZE, READ)
        yield made


@pytest.mark.parametrize(("ctype", "target"), TARGETS, ids=lambda ctype: ctype.__name__)
def test_a_followed_pointer_is_typed_and_of_the_same_kind(
    ctype: type[Any], target: type[Any], space: AddrSpace
) -> None:
    """It holds the address that is stored, whatever that is, and what is there is not touched."""
    for address in (space.base, 8, at(space, 7), END - 1, END // 4):
        poke(space.base, bytes(c_size_t(address)))
        for family in FAMILIES:
            for aspace in (space, None, Noting(space)):
                assert family[ctype](space.base).follow(aspace) == family[target](address)


def test_null_is_followed_to_null(space: AddrSpace) -> None:
    """A null pointer that is stored gives a null pointer; following a null pointer is a fault."""
    for ctype, target in TARGETS:
        for family in FAMILIES:
            null = family[ctype](space.base).follow(space)
            assert null == family[target](0)
            assert null.is_null()
            assert null.nullable() is None
            assert fault_of(family[ctype](0).follow, "null").address == 0


@pytest.mark.parametrize("ctype", NO_TARGETS, ids=lambda ctype: ctype.__name__)
def test_what_leads_nowhere_is_a_type_error(ctype: type[Any], space: AddrSpace) -> None:
    """Types that are no pointers, or do not say to what, are refused before the space is asked, and may be cast."""
    noting = Noting(space)
    for family in FAMILIES:
        pointer = family[ctype](space.base)
        with pytest.raises(TypeError, match=rf"^{ctype.__name__} .* cast to POINTER\(T\) first"):
            pointer.follow(noting)
        assert pointer.cast(POINTER(c_int)).follow(space) == family[c_int](0)
    assert noting.asked == []


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checks_of_a_read_come_first(family: Any, space: AddrSpace) -> None:
    """Alignment, permission and population are checked in this order; a pointer in read-only memory can be followed."""
    pointer = family[POINTER(c_int)]
    noting = Noting(space, allows=False)
    error = fault_of(lambda: pointer(space.base + 1).follow(noting), "misaligned")
    assert (error.reason, error.access, noting.asked) == (FaultReason.MISALIGNED, READ, ["lend"])
    error = fault_of(lambda: pointer(at(space, 2)).follow(space), "hole")
    assert (error.reason, error.access, error.address) == (FaultReason.REFUSED, READ, at(space, 2))
    noting = Noting(space, allows=True)
    with pytest.raises(OSError, match="hole") as raised:
        pointer(at(space, 2)).follow(noting)
    assert (raised.value.errno, noting.asked) == (errno.ENOMEM, ["lend", "permission", "population"])
    assert pointer(at(space, 1)).follow(space).is_null()
    space.protect(space.base, PAGE_SIZE, NONE)
    error = fault_of(lambda: pointer(space.base).follow(space), "no access")
    assert error.reason is FaultReason.REFUSED


class Credulous:
    """A space that allows everything and brings nothing in."""

    def with_addr_space(self, f: Any, /) -> Any:
        return f(self)

    def check_region_access(self, range: VirtAddrRange, flags: object) -> bool:  # noqa: A002, ARG002
        return True

    def populate_area(self, start: int, size: int, flags: object) -> None:
        pass


def test_the_read_is_guarded_whatever_the_checks_said(space: AddrSpace) -> None:
    """Memory that is bad after all is the hardware's FaultError."""
    error = fault_of(lambda: UserPtr[Node](at(space, 3)).field("next").follow(Credulous()), "hole")
    assert (error.reason, error.access, error.address) == (FaultReason.NOT_PERMITTED, READ, at(space, 3))
    assert error.signal is not None


def test_following_is_no_write(space: AddrSpace) -> None:
    """A pager's page that was followed through was asked for to be read, and is not written back."""
    disk = Disk(bytes(c_size_t(0x1000)) + bytes(PAGE_SIZE - ctypes.sizeof(c_size_t)))
    start = disk.map(space)
    assert UserPtr[c_size_t](start).cast(POINTER(c_int)).follow(space).address == 0x1000
    assert space.evict(start, PAGE_SIZE) == 1
    assert (disk.asked, disk.written) == ([(0, READ)], [])


def test_a_list_is_followed_to_its_end() -> None:
    """Members that are pointers lead from structure to structure, and to their text."""
    node: UserConstPtr[Node]
    with good_memory() as start:
        texts = [b"one", b"two", b"three"]
        for number, text in enumerate(texts):
            here, after = start + 64 * number, start + 64 * (number + 1)
            poke(here + 40, text + b"\0")
            poke(here, bytes(c_size_t(after if text != b"three" else 0)) + bytes(c_size_t(here + 40)))
        node = UserConstPtr[Node](start)
        found = []
        while node:
            found.append(node.field("name").follow().get_as_str())
            node = node.field("next").follow()
        assert found == [text.decode() for text in texts]
        assert UserPtr[Node](start).field("next").follow().ACCESS_FLAGS == READ | WRITE
