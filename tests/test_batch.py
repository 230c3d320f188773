# SPDX-License-Identifier: MIT
"""Batches: what each entry becomes, at good and at bad addresses, and what is taken for addresses."""

import random
from contextlib import suppress
from itertools import accumulate

import pytest
from helpers_batch import GOOD_PAGES, GOOD_SIZE, NOWHERE, words
from helpers_examples import examples
from helpers_memory import END, FAR, READ, READ_ONLY, Gap, gap_memory, good_memory, pattern, peek, poke
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, FaultError, TooLongError, batch, uaccess
from axptr_native._regions import ENDINGS, Ending, Region

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 64, 100, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * PAGE_SIZE + 3)
checked = examples(100)


def places(size: int, *, seed: int = 0) -> list[int]:
    """Return offsets in four pages: the first, the last, those around each edge, and some others."""
    edges = [page * PAGE_SIZE - back for page in range(1, GOOD_PAGES) for back in (0, 1, size // 2, size - 1, size)]
    chosen = random.Random(seed)
    others = [chosen.randrange(GOOD_SIZE - size + 1) for _ in range(40)]
    aligned = [place // 8 * 8 for place in others]
    found = [0, GOOD_SIZE - size, *edges, *others, *aligned]
    return [place for place in found if 0 <= place <= GOOD_SIZE - size]


@pytest.mark.parametrize("size", SIZES)
def test_each_entry_is_what_is_at_its_address(size: int, start: int) -> None:
    """In bytes and in a buffer, at any alignment, over page edges and up to the last good byte."""
    offsets = places(size)
    addresses = words([start + offset for offset in offsets])
    expected = b"".join(pattern(GOOD_SIZE)[offset : offset + size] for offset in offsets)
    assert batch.gather_from_user(addresses, size) == (expected, b"\1" * len(offsets))
    out = bytearray(len(expected))
    found, ok = batch.gather_from_user(addresses, size, out=out)
    assert found is out
    assert ok == b"\1" * len(offsets)
    assert out == expected
    assert batch.probe_many(addresses, size) == b"\1" * len(offsets)


@pytest.mark.parametrize("size", SIZES)
def test_each_entry_is_written_in_order_and_nothing_besides(size: int, start: int) -> None:
    """The memory is what slice assignments one after the other make of a bytearray."""
    offsets = places(size)
    data = pattern(size * len(offsets), first=100)
    expected = bytearray(pattern(GOOD_SIZE))
    for entry, offset in enumerate(offsets):
        expected[offset : offset + size] = data[entry * size : (entry + 1) * size]
    assert batch.scatter_to_user([start + offset for offset in offsets], data) == b"\1" * len(offsets)
    assert peek(start, GOOD_SIZE) == expected


def test_of_entries_at_one_place_the_last_is_what_is_there(start: int) -> None:
    """Overlapping ones too, in whatever order their addresses are."""
    batch.scatter_to_user([start] * 5, b"aabbccddee")
    assert peek(start, 2) == b"ee"
    batch.scatter_to_user([start + 2, start + 1, start], b"aaaabbbbcccc")
    assert peek(start, 6) == b"ccccba"
    batch.scatter_to_user([start, start + 1, start + 2], b"aaaabbbbcccc")
    assert peek(start, 6) == b"abcccc"


def around(start: int, bad: int) -> list[int]:
    """Return good addresses with bad ones between them and at both ends."""
    return [bad, start + 3, bad, bad, start + 8, start + PAGE_SIZE - 1, bad]


OK = bytes([0, 1, 0, 0, 1, 1, 0])


def check_around(start: int, bad: int, size: int) -> None:
    """Assert that each operation spoils the entries at a bad address and no others."""
    addresses = around(start, bad)
    content = pattern(GOOD_SIZE)
    poke(start, content)
    good = [address - start if is_good else None for address, is_good in zip(addresses, OK, strict=True)]
    expected = b"".join(bytes(size) if at is None else content[at : at + size] for at in good)
    assert batch.gather_from_user(addresses, size) == (expected, OK)
    out = bytearray(b"\xaa" * len(expected))
    assert batch.gather_from_user(addresses, size, out=out)[1] == OK
    assert out == expected
    assert batch.probe_many(addresses, size) == OK
    data = pattern(size * len(OK), first=77)
    written = bytearray(content)
    for entry, at in enumerate(good):
        if at is not None:
            written[at : at + size] = data[entry * size : (entry + 1) * size]
    assert batch.scatter_to_user(addresses, data) == OK
    assert peek(start, GOOD_SIZE) == written


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 12, 100, PAGE_SIZE + 5])
def test_a_bad_address_spoils_only_its_entries(size: int, region: Region, start: int) -> None:
    """Nothing mapped, nothing permitted, beyond the end: those entries are zeros, and the others are read."""
    for bad in (region.edge, region.edge + 1, region.edge + PAGE_SIZE, region.end - size, region.edge - size // 2):
        if bad + size > region.edge:
            check_around(start, bad, size)


@pytest.mark.parametrize("kind", NOWHERE)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 12, 100, PAGE_SIZE + 5])
def test_an_address_that_is_none_spoils_only_its_entries(size: int, kind: str, start: int) -> None:
    """So do addresses that no memory can have, or that are no addresses, and none of them wraps around."""
    check_around(start, NOWHERE[kind], size)


@pytest.mark.parametrize("size", [2, 4, 8, 100, PAGE_SIZE + 5])
def test_an_entry_that_leaves_the_address_space_is_bad(size: int, start: int) -> None:
    """It does not go on at address 0, and not one byte of it is touched."""
    for beyond in (1, size - 1):
        check_around(start, END - size + beyond, size)
    for bad in (start + END, start - END):
        check_around(start, bad, size)


def test_a_size_that_leaves_the_address_space_everywhere_makes_all_entries_bad(start: int) -> None:
    """However large, for probes and strings, which have no room to find for it."""
    for size in (END // 2, END - 1, END, 2**70):
        assert batch.probe_many([start, 0, END - 1], size) == bytes(3)
        assert batch.read_strings([END - 1, -1], size) == [None, None]
    assert batch.probe_many([start, start], END - start) == bytes(2)
    for size in (END // 4, END, 2**70):
        with pytest.raises(MemoryError):
            batch.gather_from_user([start] * 3, size)


def test_memory_that_cannot_be_written_is_read_and_probed() -> None:
    """A read-only page is good for every operation but scatter, which leaves it as it is."""
    with good_memory(2, READ) as start:
        addresses = [start, start + 5, start + PAGE_SIZE - 4]
        assert batch.gather_from_user(addresses, 8) == (bytes(24), b"\1\1\1")
        assert batch.probe_many(addresses, 8) == b"\1\1\1"
        assert batch.read_strings(addresses, 8) == [b"", b"", b""]
        assert batch.scatter_to_user(addresses, b"x" * 24) == bytes(3)
        assert peek(start, 2 * PAGE_SIZE) == bytes(2 * PAGE_SIZE)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 16, 100, PAGE_SIZE + 7])
@pytest.mark.parametrize("kind", [*Ending, READ_ONLY], ids=str)
def test_entries_at_an_edge_are_good_or_bad_as_a_whole(size: int, kind: "Ending | str") -> None:
    """At each distance from both edges of bad memory; a bad one wrote what lies before the edge, and no more."""
    distances = range(-2, size + 3) if size < 20 else (-1, 0, 1, 2, size // 2, size - 1, size, size + 1)
    with gap_memory(kind) as gap:
        for distance in distances:
            check_edges(gap, size, [gap.edge - distance, gap.resume - distance], is_readable=kind == READ_ONLY)


def check_edges(gap: Gap, size: int, addresses: list[int], *, is_readable: bool) -> None:
    memory = bytearray(pattern(gap.end - gap.start))
    memory[gap.edge - gap.start : gap.resume - gap.start] = bytes(gap.resume - gap.edge)
    offsets = [address - gap.start for address in addresses]
    gap.fill(bytes(memory[: gap.edge - gap.start]), bytes(memory[gap.resume - gap.start :]))
    good = bytes(at + size <= gap.edge or at >= gap.resume for at in addresses)
    readable = b"\1\1" if is_readable else good
    expected = b"".join(memory[at : at + size] if ok else bytes(size) for at, ok in zip(offsets, readable, strict=True))
    assert batch.gather_from_user(addresses, size) == (expected, readable), offsets
    assert batch.probe_many(addresses, size) == readable, offsets
    assert batch.scatter_to_user(addresses, b"\xfe" * size * 2) == good, offsets
    for at, ok in zip(offsets, good, strict=True):
        written = size if ok else max(0, gap.edge - gap.start - at)
        memory[at : at + written] = b"\xfe" * written
    assert peek(gap.start, gap.edge - gap.start) == memory[: gap.edge - gap.start], offsets
    assert peek(gap.resume, gap.end - gap.resume) == memory[gap.resume - gap.start :], offsets


def read_or_none(address: int, size: int) -> bytes | None:
    with suppress(FaultError):
        return uaccess.copy_from_user(address, size)
    return None


def string_or_none(address: int, limit: int) -> bytes | None:
    with suppress(FaultError, TooLongError):
        return uaccess.strncpy_from_user(address, limit)
    return None


def was_written(address: int, data: bytes) -> bool:
    with suppress(FaultError):
        uaccess.copy_to_user(address, data)
        return True
    return False


near = st.tuples(st.sampled_from(["start", "edge", "resume", "end"]), st.integers(-2 * PAGE_SIZE - 9, 20))
anywhere = st.tuples(st.just(None), st.sampled_from([*NOWHERE.values()]))


@checked
@given(
    chosen_places=st.lists(near | near | anywhere, max_size=40),
    kind=st.sampled_from([*ENDINGS, READ_ONLY]),
    size=st.sampled_from([0, *SIZES]),
    seed=st.integers(0, 2**32),
)
def test_a_batch_does_what_one_access_after_the_other_does(
    chosen_places: "list[tuple[str | None, int]]", kind: "Ending | str", size: int, seed: int
) -> None:
    """Any addresses around bad memory, far from any, and outside the address space, for all four operations."""
    chosen = random.Random(seed)
    zeros = chosen.choice([0, 0.01, 1, 5])
    contents = [bytes(chosen.choices(b"abc\0", [9, 9, 9, zeros], k=2 * PAGE_SIZE)) for _ in range(2)]
    with gap_memory(kind) as gap:
        addresses = [(getattr(gap, edge) if edge else 0) + offset for edge, offset in chosen_places]
        gap.fill(*contents)
        read = [read_or_none(address, size) for address in addresses]
        ok = bytes(entry is not None for entry in read)
        assert batch.gather_from_user(addresses, size) == (b"".join(entry or bytes(size) for entry in read), ok)
        assert batch.probe_many(addresses, size) == ok
        assert batch.read_strings(addresses, size) == [string_or_none(address, size) for address in addresses]

        source = chosen.randbytes(size * len(addresses))
        written = [was_written(at, source[entry * size :][:size]) for entry, at in enumerate(addresses)]
        expected = [peek(gap.start, 2 * PAGE_SIZE), peek(gap.resume, 2 * PAGE_SIZE)]
        gap.fill(*contents)
        assert batch.scatter_to_user(addresses, source) == bytes(written)
        assert [peek(gap.start, 2 * PAGE_SIZE), peek(gap.resume, 2 * PAGE_SIZE)] == expected


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 65, PAGE_SIZE - 1, PAGE_SIZE, 3 * PAGE_SIZE - 1])
def test_a_string_ends_at_its_zero_byte_or_is_none(length: int, start: int) -> None:
    """The limit counts the zero byte, which may be the last good byte; beyond it nothing is touched."""
    for back in (0, 1, 9):
        at = start + GOOD_SIZE - length - 1 - back
        poke(start, pattern(GOOD_SIZE))
        poke(at + length, b"\0")
        text = peek(at, length)
        for limit in (length + 1, length + 2, FAR):
            assert batch.read_strings([at, start + GOOD_SIZE, at], limit) == [text, None, text], limit
        if length:
            assert batch.read_strings([at, at], length) == [None, None]
    assert batch.read_strings([start + GOOD_SIZE - 8], FAR) == [None]


def test_strings_are_read_however_many_and_long_they_are() -> None:
    """More than one call of the library has room for, longer than all of its room, and bad ones between them."""
    chosen = random.Random(3)
    lengths = [chosen.choice([0, 1, 5, 300, 2500]) for _ in range(3000)]
    texts = [pattern(length) for length in (*lengths, 100_000, 2, 1_100_000, 3)]
    packed = b"".join(text + b"\0" for text in texts)
    size = len(packed)
    with good_memory(size // PAGE_SIZE + 1) as start:
        poke(start, packed)
        starts = accumulate((len(text) + 1 for text in texts), initial=start)
        addresses = [address for good, _ in zip(starts, texts, strict=False) for address in (good, 0)]
        expected = [entry for text in texts for entry in (text, None)]
        assert batch.read_strings(addresses, size) == expected
        assert batch.read_strings(addresses[-8:], size) == expected[-8:]
        assert batch.read_strings(addresses[-8:], 100_001) == [*expected[-8:-4], None, None, *expected[-2:]]


def test_a_hundred_thousand_addresses_are_handled(start: int) -> None:
    """Good and bad ones of every kind in any order, of a word and of a page and more."""
    chosen = random.Random(5)
    bad = [address for address in NOWHERE.values() if 0 <= address < 2**64]
    addresses = words([chosen.choice([start + chosen.randrange(GOOD_SIZE - 8), *bad]) for _ in range(100_000)])
    good = bytes(start <= address < start + GOOD_SIZE for address in addresses)
    data, ok = batch.gather_from_user(addresses, 8)
    assert ok == good
    content = pattern(GOOD_SIZE)
    for entry, address in enumerate(addresses):
        expected = content[address - start :][:8] if good[entry] else bytes(8)
        assert data[entry * 8 : entry * 8 + 8] == expected, entry
    assert batch.probe_many(addresses, 8) == good
    assert batch.scatter_to_user(addresses, data) == good
