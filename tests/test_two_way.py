# SPDX-License-Identifier: MIT
"""The search for systems whose libc has no memmem, wherever these tests run."""

import ctypes
import itertools
from collections.abc import Callable

import pytest
from helpers_compiled import compile_library
from helpers_examples import examples
from hypothesis import given
from hypothesis import strategies as st

Search = Callable[[bytes, bytes], int]

checked = examples(300)
words = st.text("ab", max_size=12).map(str.encode)
repeated = st.builds(lambda word, times, tail: word * times + tail, words, st.integers(0, 9), words)
"""Bytes that are much like themselves further on, which is what a search by periods can get wrong."""


@pytest.fixture(scope="module")
def find(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """What returns the offset of a needle, or -1 as bytes.find does, and holds the search to the reads it may take."""
    function = ctypes.CDLL(str(compile_library("two_way", tmp_path_factory.mktemp("two_way")))).find_two_way
    function.restype = ctypes.c_ssize_t
    size = ctypes.c_size_t

    def search(data: bytes, needle: bytes) -> int:
        reads = size()
        found: int = function(data, size(len(data)), needle, size(len(needle)), ctypes.byref(reads))
        assert reads.value <= 2 * len(data), "it starts anew at too many places"
        return found

    return search


def test_every_short_needle_is_found_in_every_short_text(find: Search) -> None:
    """All texts and needles of two letters up to seven bytes, the empty ones too."""
    short = [bytes(letters) for size in range(8) for letters in itertools.product(b"ab", repeat=size)]
    wrong = [(text, needle) for text in short for needle in short if find(text, needle) != text.find(needle)]
    assert wrong == []


@checked
@given(before=repeated, needle=repeated, after=repeated)
def test_a_needle_that_repeats_itself_is_found_where_it_is_first(
    find: Search, before: bytes, needle: bytes, after: bytes
) -> None:
    """The offset is that of bytes.find, in bytes that hold it and in bytes that may not."""
    for text in (before + needle + after, before + after, before * 3 + needle[:-1] + needle):
        assert find(text, needle) == text.find(needle)


@checked
@given(text=st.lists(st.integers(0, 3), max_size=600).map(bytes), at=st.integers(0, 600), size=st.integers(0, 600))
def test_a_part_of_a_text_is_found_where_it_is_first(find: Search, text: bytes, at: int, size: int) -> None:
    """Whatever part it is, and however small the alphabet; one byte changed, it is where bytes.find says too."""
    needle = text[at : at + size]
    for wanted in (needle, needle[:-1] + b"\4", b"\4" + needle[1:]):
        assert find(text, wanted) == text.find(wanted)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        (bytes(40_000), bytes(9_999) + b"\1"),
        (bytes(40_000), b"\1" + bytes(9_999)),
        (bytes(40_000), bytes(5_000) + b"\1" + bytes(5_000)),
        ((bytes(99) + b"\1") * 400, (bytes(99) + b"\1") * 99 + bytes(100)),
        (b"ab" * 20_000, b"ab" * 5_000 + b"b"),
        (b"ab" * 20_000, b"aa" + b"ba" * 5_000),
    ],
    ids=["last byte", "first byte", "middle byte", "last period", "two letters", "two letters, first"],
)
def test_no_search_takes_quadratic_time(find: Search, text: bytes, needle: bytes) -> None:
    """Where nearly every place nearly holds the needle, there are still no more than two reads for each byte."""
    assert find(text, needle) == text.find(needle) == -1
