# SPDX-License-Identifier: MIT
"""Scans and searches by blocks: what they find at every alignment, around every block's edge, and near bad memory."""

from __future__ import annotations

import ctypes
import errno
import random
import sys
from collections.abc import Iterator
from functools import partial

import pytest
from helpers_examples import examples
from helpers_memory import FAR, READ, fault_of, faulted, good_memory, pattern, poke, seen
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, FaultError, TooLongError, uaccess
from axptr_native._native import ADDRESS_MAX, fault_error, lib
from axptr_native._regions import Ending, Region, ending_memory

WIDTHS = (1, 2, 4, 8)
BLOCK = 256
"""Bytes that are looked at at once."""
SIZES = sorted({max(edge + near, 0) for edge in (0, BLOCK, 2 * BLOCK, 3 * BLOCK) for near in range(-20, 90)})
checked = examples(300)


@pytest.fixture(scope="module")
def ended() -> Iterator[Region]:
    """Two good pages before one without access."""
    with ending_memory(Ending.PROTECTION, bad=PAGE_SIZE) as region:
        yield region


def strnlen(address: int, width: int, limit: int) -> int:
    """Return the elements before the first that is zero."""
    count = ctypes.c_void_p(ADDRESS_MAX)
    if lib.axp_strnlen_user(address, width, limit, count):
        assert count.value == ADDRESS_MAX, "a result was written although it failed"
        raise fault_error(limit * width)
    return count.value or 0


def elements(width: int, count: int, *, seed: int = 1) -> bytes:
    """Return elements none of which is zero, though most of their bytes are."""
    chosen = random.Random(seed)
    bits = 8 * width
    some = [1, 1 << (bits - 1), (1 << bits) - 1, 1 << (bits // 2), (1 << (bits - 1)) - 1, 0x80]
    return b"".join(chosen.choice(some).to_bytes(width, sys.byteorder) for _ in range(count))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_terminator_is_found_at_every_alignment_and_block_edge(width: int, ended: Region) -> None:
    """However near to bad memory the terminator is, the count is exact, and so is the limit without one."""
    text = elements(width, SIZES[-1] // width)
    for behind in (*range(width), 16, BLOCK - 1, PAGE_SIZE - 1, PAGE_SIZE):
        for count in {size // width for size in SIZES}:
            start = ended.edge - behind - width - count * width
            poke(start, text[: count * width] + bytes(width) + b"\x01" * behind)
            for limit in (count + 1, FAR, count, count // 2):
                assert strnlen(start, width, limit) == min(count, limit), (count, behind, limit)


@pytest.mark.parametrize("width", WIDTHS)
def test_without_a_terminator_whole_elements_are_done(width: int, ending: Ending, region: Region) -> None:
    """An element that lies partly on good memory is not done, and the first bad byte is the edge."""
    text = elements(width, SIZES[-1] // width)
    for good in range(len(text)):
        whole, part = divmod(good, width)
        start = region.edge - good
        poke(start, text[: whole * width] + b"\x01" * part)
        error = fault_of(partial(strnlen, start, width, FAR), f"{good} good bytes")
        assert seen(error) == faulted(region.edge, whole * width, ending.value, READ), good


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_a_terminator_on_two_pages_is_found_or_faults(width: int, ended: Region) -> None:
    """With the second page good its element ends the string; with that page bad the fault is the second page's."""
    middle = ended.start + PAGE_SIZE
    for part in range(1, width):
        for count in (0, 1, 7, 8, 9, BLOCK // width, 3 * BLOCK // width + 1):
            text = elements(width, count, seed=part)
            poke(middle - part - len(text), text + bytes(width) + b"\x01")
            assert strnlen(middle - part - len(text), width, FAR) == count, (part, count)
            poke(ended.edge - part - len(text), text + bytes(part))
            error = fault_of(partial(strnlen, ended.edge - part - len(text), width, FAR), f"{part} of {count}")
            assert seen(error) == faulted(ended.edge, len(text), Ending.PROTECTION.value, READ), (part, count)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a page that was only read may not count as present")
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_behind_the_terminator_s_is_not_even_read(width: int) -> None:
    """Good pages that nobody had touched before the scan are as absent after it."""
    mincore = ctypes.CDLL(None).mincore
    present = (ctypes.c_ubyte * 3)()
    for behind in (*range(width), 100, BLOCK + 5, PAGE_SIZE - 8):
        with good_memory(3) as start:
            text = elements(width, (PAGE_SIZE - behind) // width - 1)
            at = start + PAGE_SIZE - behind - width - len(text)
            poke(at, text + bytes(width))
            assert strnlen(at, width, 2**20) == len(text) // width
            assert mincore(ctypes.c_void_p(start), ctypes.c_size_t(3 * PAGE_SIZE), present) == 0
            assert [page & 1 for page in present] == [1, 0, 0], behind


@checked
@given(
    width=st.sampled_from(WIDTHS),
    at=st.integers(0, PAGE_SIZE),
    limit=st.integers(0, 2 * PAGE_SIZE),
    seed=st.integers(0, 2**32),
)
def test_wide_strings_agree_with_plain_python(width: int, at: int, limit: int, seed: int) -> None:
    """The count is that of the first zero element of a list, at any address and of any mixture."""
    chosen = random.Random(seed)
    data = bytearray(elements(width, 2 * PAGE_SIZE // width, seed=seed))
    for _ in range(chosen.choice((0, 1, 1, 2, 50))):
        place = chosen.randrange(len(data))
        data[place : place + 2 * width] = bytes(min(2 * width, len(data) - place))
    limit = min(limit, (len(data) - at) // width)
    span = bytes(data[at : at + limit * width])
    words = [span[i : i + width] for i in range(0, len(span), width)]
    with good_memory(2) as start:
        poke(start, bytes(data))
        assert strnlen(start + at, width, limit) == next((i for i, word in enumerate(words) if not any(word)), limit)


def test_one_byte_that_is_not_zero_is_found_around_every_block_edge(ended: Region) -> None:
    """Its offset is exact for each start near the edge, and what lies behind it does not matter."""
    offset = ctypes.c_void_p()
    for size in SIZES:
        for more in (0, 1, 7, 8, 9, BLOCK):
            start = ended.edge - size - 1 - more
            poke(start, bytes(size) + b"\x80" + b"\x01" * more)
            assert lib.axp_find_nonzero_user(start, 2**30, offset) == 0, (size, more)
            assert (offset.value or 0) == size, (size, more)


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


def copy_string(own: ctypes.Array[ctypes.c_char], address: int, size: int) -> int:
    """Copy a string to one byte after the start of our buffer and return its length."""
    length = ctypes.c_void_p(ADDRESS_MAX)
    if lib.axp_strncpy_from_user(ctypes.addressof(own) + 1, size, address, size, length):
        assert length.value == ADDRESS_MAX, "a result was written although it failed"
        raise fault_error(size)
    return length.value or 0


def test_a_copied_string_is_as_long_as_its_copy(ended: Region) -> None:
    """The bytes before the first zero one, or all, are copied, and nothing beside the room for all is written."""
    for size in (*range(70), 95, 96, 97, 127, 128, 129, 143, 144, 145, 300, 600, PAGE_SIZE - 1, PAGE_SIZE + 17):
        text = pattern(size)
        start = ended.edge - size
        for zero in {0, 1, 31, 32, 33, size // 2, size - 17, size - 16, size - 15, size - 1} | {size}:
            data = bytearray(text)
            if 0 <= zero < size:
                data[zero] = data[-1] = 0
            poke(start, bytes(data))
            own = ctypes.create_string_buffer(b"\xaa" * (size + 2), size + 2)
            length = (data + b"\0").index(0)
            assert copy_string(own, start, size) == length, (size, zero)
            assert own.raw[1 : length + 1] == data[:length], (size, zero)
            assert (own.raw[0], own.raw[-1]) == (0xAA, 0xAA), (size, zero)


def test_a_string_that_ends_before_bad_memory_is_copied_whatever_the_limit(ended: Region) -> None:
    """No page after the one with the zero byte is touched, wherever the string starts, and however long it is."""
    for size in (*range(1, 70), 95, 96, 97, 128, 129, 300, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE):
        text = pattern(size - 1)
        poke(ended.edge - size, text + b"\0")
        for limit in (size, size + 1, PAGE_SIZE, 2**30):
            if limit >= size:
                assert uaccess.strncpy_from_user(ended.edge - size, limit) == text, (size, limit)


@pytest.mark.parametrize("limit", [2**12, 2**16, 2**20, 2**20 + 1, 2**24, 2**24 + 1])
def test_long_strings_are_read_whole_or_refused(limit: int) -> None:
    """Up to the limit they come back, from there on they are too long, and over the edge they are its fault."""
    with ending_memory(Ending.HOLE, good=2**24 + PAGE_SIZE) as region:
        ctypes.memset(region.start, ord("a"), region.edge - region.start)
        start = region.edge - limit
        for length in (limit - 1, limit // 2, limit // 16, limit // 16 - 1):
            poke(start + length, b"\0")
            assert uaccess.strncpy_from_user(start, limit) == b"a" * length, length
            poke(start + length, b"a")
        with pytest.raises(TooLongError) as too_long:
            uaccess.strncpy_from_user(start, limit)
        assert too_long.value.limit == limit
        error = fault_of(lambda: uaccess.strncpy_from_user(start, limit + 1), "over the edge")
        assert seen(error) == faulted(region.edge, limit, Ending.HOLE.value, READ)
        assert error.size == limit + 1


def test_a_string_that_cannot_be_copied_leaves_its_readable_part(ending: Ending, region: Region) -> None:
    """What was transferred has arrived."""
    for good in (*range(40), 127, 128, 129, 300, PAGE_SIZE, PAGE_SIZE + 100):
        for beyond in (1, 15, 16, 200, PAGE_SIZE):
            text = pattern(good)
            start = region.edge - good
            poke(start, text)
            own = ctypes.create_string_buffer(good + beyond + 2)
            error = fault_of(partial(copy_string, own, start, good + beyond), f"{good} and {beyond} bad")
            assert seen(error) == faulted(region.edge, good, ending.value, READ), (good, beyond)
            assert own.raw[1 : good + 1] == text, (good, beyond)


def test_an_empty_string_touches_nothing() -> None:
    """Size 0 has length 0 at any address; a size that leaves the address space is refused."""
    own = ctypes.create_string_buffer(b"\xaa" * 8, 8)
    for address in (0, 1, 2**47, 2**64 - 1):
        assert copy_string(own, address, 0) == 0
    with pytest.raises(FaultError, match="address space") as caught:
        copy_string(own, 2**64 - 4, 6)
    assert (caught.value.errno, caught.value.transferred) == (errno.EFAULT, 0)
    assert own.raw == b"\xaa" * 8
