# SPDX-License-Identifier: MIT
"""Scans and searches by blocks: what they find at every alignment, around every block's edge, and near bad memory."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from helpers_memory import READ, faulted, pattern, poke, seen
from hypothesis import given, settings
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, FaultError, uaccess
from axptr_native._regions import Ending, Region, ending_memory

WIDTHS = (1, 2, 4, 8)
BLOCK = 256
"""Bytes that are looked at at once."""
SIZES = sorted({max(edge + near, 0) for edge in (0, BLOCK, 2 * BLOCK, 3 * BLOCK) for near in range(-20, 90)})
checked = settings(deadline=None, max_examples=300, database=None)


@pytest.fixture(scope="module")
def ended() -> Iterator[Region]:
    """Two good pages before one without access."""
    with ending_memory(Ending.PROTECTION, bad=PAGE_SIZE) as region:
        yield region


@checked
@given(
    alphabet=st.sampled_from([b"\0", b"ab", b"\0\x01", b"abc", b"\0\0\0\0\0\0\0\x7f", bytes(range(256))]),
    size=st.one_of(st.integers(0, 700), st.integers(0, 2 * PAGE_SIZE)),
    needle_size=st.one_of(st.integers(1, 20), st.integers(1, 600)),
    seed=st.integers(0, 2**32),
)
def test_searches_agree_with_bytes_find(alphabet: bytes, size: int, needle_size: int, seed: int) -> None:
    """Whatever is alike everywhere: the first place, None, or, when more is asked for than is there, the fault."""
    chosen = random.Random(seed)
    data = bytes(chosen.choices(alphabet, k=size))
    needle = bytes(chosen.choices(alphabet, k=needle_size))
    if size > needle_size and chosen.random() < 0.7:
        place = chosen.randrange(size - needle_size)
        needle = data[place : place + needle_size]
        if chosen.random() < 0.3:
            changed = chosen.randrange(needle_size)
            needle = needle[:changed] + bytes([chosen.choice(alphabet)]) + needle[changed + 1 :]
    found = data.find(needle)
    with ending_memory(Ending.PROTECTION, bad=PAGE_SIZE) as region:
        start = region.edge - size
        poke(start, data)
        assert uaccess.find_in_user(start, size, needle) == (None if found < 0 else found)
        if found >= 0:
            assert uaccess.find_in_user(start, size + PAGE_SIZE, needle) == found
        else:
            with pytest.raises(FaultError) as caught:
                uaccess.find_in_user(start, size + 1, needle)
            assert seen(caught.value) == faulted(region.edge, size, Ending.PROTECTION.value, READ)


def test_an_occurrence_just_before_bad_memory_is_found(ended: Region) -> None:
    """However far the search looks ahead, and however many places look like it."""
    for needle in (b"n", b"ne", b"nee", pattern(17), pattern(64), b"n" * 30 + b"e", pattern(300)):
        for size in (*range(0, 600, 13), PAGE_SIZE):
            for filler in (b"\xff", needle[:1], needle[-1:]):
                haystack = (filler * size)[:size] + needle
                start = ended.edge - len(haystack)
                poke(start, haystack)
                expected = haystack.find(needle)
                assert uaccess.find_in_user(start, 2**30, needle) == expected, (len(needle), size, filler)
