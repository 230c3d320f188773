# SPDX-License-Identifier: MIT
"""What an address costs of many that are read at once, some of them bad."""

from __future__ import annotations

import ctypes
import random
from array import array
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from interleave import Unavailable, python
from plots import GATHER_OWN_PAGES, GATHER_SHARED_PAGES

from axptr_native import PAGE_SIZE, uaccess
from axptr_native._regions import Ending, ending_memory

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from memory import Memory
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "Batches"

COUNT = 10_000
SIZE = 8
APART = 64
"""Bytes from one good address to the next: each has a cache line of its own."""
SHARES = {"none bad": 0, "0.1 %": 0.001, "1 %": 0.01, "10 %": 0.1, "50 %": 0.5, "all": 1}
LOOP = """
found = []
for addr in addresses:
    try:
        found.append({})
    except OSError:
        found.append(None)
"""
MAY_TAKE = {"none bad": 5e-9, "1 %": 40e-9, "50 %": 1e-6}


@pytest.fixture(scope="module")
def bad_pages() -> Iterator[int]:
    """The first of as many pages as there are addresses, all of them bad."""
    with ending_memory(Ending.HOLE, good=0, bad=COUNT * PAGE_SIZE) as region:
        yield region.edge


def mixed(good: int, bad: int, apart: int, share: float) -> array[int]:
    """Return addresses in random order, the same each time: a share of them bad, those so many bytes apart."""
    bad_count = round(share * COUNT)
    addresses = [good + APART * place for place in range(COUNT - bad_count)]
    addresses += [bad + apart * place for place in range(bad_count)]
    random.Random(0).shuffle(addresses)
    return array("Q", addresses)


def gather_from_user() -> Any:
    """Return the function, or that there is none."""
    try:
        return import_module("axptr_native.batch").gather_from_user
    except ImportError as error:
        return Unavailable(str(error))


@pytest.mark.parametrize("label", SHARES)
@pytest.mark.parametrize(("title", "apart"), [(GATHER_OWN_PAGES, PAGE_SIZE), (GATHER_SHARED_PAGES, SIZE)])
def test_gather(
    compare: Compare, bars: Bars, memory: Memory, rivals: Rivals, bad_pages: int, label: str, title: str, apart: int
) -> None:
    """Words from addresses in an array."""
    addresses = mixed(memory.user, bad_pages, apart, SHARES[label])
    names: dict[str, Any] = {"addresses": addresses, "size": SIZE}
    copy, gather = uaccess.copy_from_user, gather_from_user()
    alternatives = {
        "gather_from_user": python("gather(addresses, size)", gather=gather, **names),
        "gather_from_user(out=)": python(
            "gather(addresses, size, out=out)", gather=gather, out=bytearray(SIZE * COUNT), **names
        ),
        "loop of copy_from_user": python(LOOP.format("copy(addr, size)"), copy=copy, **names),
        "process_vm_readv": rivals.process_vm_readv_each(addresses, SIZE, memory.own),
        "loop of os.pread": rivals.memory_file(LOOP.format("pread(file, size, addr)"), **names),
    }
    if SHARES[label] == 0:
        own = memory.own_buffer(SIZE * COUNT)
        alternatives |= {
            "floor extension": rivals.floor("gather(addresses, own)", own=own, **names),
            "loop of ctypes.string_at": python(
                LOOP.format("string_at(addr, size)"), string_at=ctypes.string_at, **names
            ),
        }
    samples = compare(title, alternatives, column=label, operations=COUNT, seconds=0.8)
    if title == GATHER_OWN_PAGES and label in MAY_TAKE:
        operation = f"an address of gather_from_user, of 10,000, {label.removesuffix(' bad')} bad"
        bars.seconds(operation, samples, "gather_from_user", at_most=MAY_TAKE[label])
