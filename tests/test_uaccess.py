# SPDX-License-Identifier: MIT
"""The verbs on good memory: what they return, what they write, and what they take."""

import array
import ctypes
import errno
import mmap
import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from helpers_examples import examples
from helpers_memory import END, FAR, LAST_CHARACTER, good_memory, pattern, peek, poke
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, FaultError, TooLongError, UserMemoryError, uaccess

LARGE = (2 << 20) + 4321
LIKE_A_NAN = struct.unpack(">f", b"\x3f\x00\x80\x7f")[0]
"""A float whose bytes are in the other order those of a signalling NaN."""
SIZES = (1, 2, 3, 7, 8, 9, 63, 64, 65, 4095, 4096, 4097, 2 * PAGE_SIZE - 1)
offsets = st.integers(0, 2 * PAGE_SIZE)
checked = examples(150)


@pytest.fixture
def start() -> Iterator[int]:
    """The address of four good pages of zeros, with bad memory beyond."""
    with good_memory() as memory:
        yield memory


@pytest.fixture
def large() -> Iterator[int]:
    """The address of more than two MiB."""
    with good_memory(LARGE // PAGE_SIZE + 2) as memory:
        yield memory


def byte_order(ctype: type[Any]) -> Literal["little", "big"]:
    if getattr(ctype, "__ctype_be__", None) is ctype:
        return "big"
    return "little" if getattr(ctype, "__ctype_le__", None) is ctype else sys.byteorder


def end_of(start: int) -> int:
    return start + 4 * PAGE_SIZE


@pytest.mark.parametrize("size", SIZES)
def test_copies_return_and_write_exactly_their_bytes(size: int, start: int) -> None:
    """copy_to_user writes the span alone, copy_from_user and copy_from_user_into read it back."""
    data = pattern(size)
    for at in (0, 1, 5, PAGE_SIZE - 1, 4 * PAGE_SIZE - size):
        poke(start, b"\xaa" * 4 * PAGE_SIZE)
        uaccess.copy_to_user(start + at, data)
        assert peek(start, 4 * PAGE_SIZE) == (b"\xaa" * at + data).ljust(4 * PAGE_SIZE, b"\xaa"), at
        assert uaccess.copy_from_user(start + at, size) == data, at
        assert uaccess.copy_from_user(start + at, size, partial=True) == data, at
        buffer = bytearray(size)
        uaccess.copy_from_user_into(start + at, buffer)
        assert buffer == data, at
        uaccess.clear_user(start + at, size)
        assert peek(start, 4 * PAGE_SIZE) == (b"\xaa" * at + bytes(size)).ljust(4 * PAGE_SIZE, b"\xaa"), at


def test_large_accesses_are_right_too(large: int) -> None:
    """Those that drop the GIL read, write, clear, compare and search what smaller ones do."""
    data = pattern(LARGE)
    at = large + 13
    uaccess.copy_to_user(at, data)
    assert peek(at, LARGE) == data
    assert uaccess.copy_from_user(at, LARGE) == data
    buffer = bytearray(LARGE)
    uaccess.copy_from_user_into(at, buffer)
    assert buffer == data
    assert uaccess.strnlen_user(at, LARGE) == LARGE
    assert uaccess.strncpy_from_user(at, LARGE + 1) == data
    assert uaccess.find_in_user(at, LARGE, data[-251:] + b"\0") is None
    assert uaccess.probe_read(at, LARGE) == uaccess.probe_write(at, LARGE) == LARGE
    assert bytes(uaccess.copy_struct_from_user(at, LARGE, ctypes.c_char * LARGE)) == data
    uaccess.copy_in_user(at + 777, at, LARGE - 777)
    assert peek(at, LARGE) == data[:777] + data[: LARGE - 777]
    uaccess.clear_user(at, LARGE)
    assert uaccess.check_zeroed_user(at, LARGE) is True
    assert peek(at, LARGE) == bytes(LARGE)


def test_every_buffer_is_taken(start: int, tmp_path: Path) -> None:
    """bytes, bytearray, array, ctypes arrays, mappings of both kinds and memoryviews of any shape can be written."""
    path = tmp_path / "data"
    path.write_bytes(pattern(1000))
    whole = memoryview(pattern(1000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as read_only:
            sources: list[Any] = [
                pattern(1000),
                bytearray(pattern(1000)),
                whole,
                whole[1:999],
                whole[10:][:5],
                whole.cast("B", (10, 100)),
                memoryview(array.array("d", [1.5, -2.5])),
                array.array("H", [1, 2, 65535]),
                (ctypes.c_int * 3)(1, -2, 3),
                ctypes.c_double(0.5),
                mapped,
                read_only,
                b"",
            ]
            for source in sources:
                raw = memoryview(source).tobytes()
                poke(start, b"\xaa" * 2000)
                uaccess.copy_to_user(start, source)
                assert peek(start, 2000) == raw.ljust(2000, b"\xaa"), type(source)
                if raw:
                    assert uaccess.find_in_user(start, 2000, source) == 0, type(source)
        targets: list[Any] = [
            bytearray(1000),
            memoryview(bytearray(1000))[3:900],
            memoryview(bytearray(600)).cast("B", (2, 3, 100)),
            array.array("I", [0] * 30),
            (ctypes.c_int * 3)(),
            mapped,
        ]
        poke(start, pattern(1000, first=9))
        for target in targets:
            uaccess.copy_from_user_into(start, target)
            got = memoryview(target).tobytes()
            assert got == pattern(1000, first=9)[: len(got)], type(target)
    assert path.read_bytes() == pattern(1000, first=9)


def test_a_buffer_that_is_not_contiguous_is_refused(start: int) -> None:
    """BufferError, and nothing is copied in either direction."""
    strided = memoryview(bytearray(b"\xbb" * 100))[::2]
    with pytest.raises(BufferError):
        uaccess.copy_to_user(start, strided)
    with pytest.raises(BufferError):
        uaccess.copy_from_user_into(start, strided)
    with pytest.raises(BufferError):
        uaccess.find_in_user(start, 100, memoryview(b"abcdef")[::-1])
    assert peek(start, 100) == bytes(100)
    assert strided.tobytes() == b"\xbb" * 50


def test_what_is_no_buffer_or_not_writable_is_refused(start: int, tmp_path: Path) -> None:
    """TypeError, and the read-only object is as it was."""
    constant = b"constant"
    (tmp_path / "data").write_bytes(constant)
    with (tmp_path / "data").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as read_only:
        wrong: list[Any] = [constant, memoryview(constant), memoryview(bytearray(8)).toreadonly(), read_only]
        for target in (*wrong, "text", None, 8, [1], object()):
            with pytest.raises(TypeError):
                uaccess.copy_from_user_into(start, target)
        assert read_only[:] == constant
    for source in ("text", None, 8, [1], object()):
        with pytest.raises(TypeError):
            uaccess.copy_to_user(start, source)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            uaccess.find_in_user(start, 10, source)  # type: ignore[arg-type]
    assert constant == b"constant"


def test_a_failed_access_lets_the_buffer_go(start: int) -> None:
    """After a fault or a refusal a bytearray can be resized: nobody holds its buffer."""
    buffer = bytearray(100)
    for address in (end_of(start) - 3, END - 3, -1):
        with pytest.raises(FaultError):
            uaccess.copy_from_user_into(address, buffer)
        with pytest.raises(FaultError):
            uaccess.copy_to_user(address, buffer)
        with pytest.raises(FaultError):
            uaccess.find_in_user(address, 200, buffer)
        buffer.append(1)


@pytest.mark.parametrize(
    ("ctype", "values"),
    [
        (ctypes.c_bool, [True, False]),
        (ctypes.c_char, [b"a", b"\0", b"\xff"]),
        (ctypes.c_wchar, ["a", "\0", LAST_CHARACTER]),
        (ctypes.c_byte, [-128, 127]),
        (ctypes.c_ubyte, [0, 255]),
        (ctypes.c_short, [-(2**15), 2**15 - 1]),
        (ctypes.c_ushort, [0, 2**16 - 1]),
        (ctypes.c_int, [-(2**31), 2**31 - 1]),
        (ctypes.c_uint, [0, 2**32 - 1]),
        (ctypes.c_long, [-(2**31), 2**31 - 1]),
        (ctypes.c_ulong, [0, 2**32 - 1]),
        (ctypes.c_longlong, [-(2**63), 2**63 - 1]),
        (ctypes.c_ulonglong, [0, 2**64 - 1]),
        (ctypes.c_size_t, [0, END - 1]),
        (ctypes.c_ssize_t, [-1, 5]),
        (ctypes.c_float, [0.5, float("inf"), -1.25]),
        (ctypes.c_double, [0.1, -1e300]),
        (ctypes.c_void_p, [None, 1, END - 1]),
        (ctypes.c_char_p, [None, 1, END - 1]),
        (ctypes.c_wchar_p, [None, 1, END - 1]),
        (ctypes.POINTER(ctypes.c_int), [None, 1, END - 1]),
        (ctypes.CFUNCTYPE(ctypes.c_int), [None, 1, END - 1]),
        (ctypes.c_int32.__ctype_be__, [-2, 1]),
        (ctypes.c_uint16.__ctype_be__, [0xFF00, 1]),
        (ctypes.c_double.__ctype_be__, [0.1]),
        (ctypes.c_float.__ctype_be__, [LIKE_A_NAN, -0.5]),
        (ctypes.c_uint64.__ctype_le__, [1]),
    ],
)
def test_a_word_put_is_the_word_got(ctype: type[Any], values: list[Any], start: int) -> None:
    """At any alignment, across a page edge and at the last good byte; nothing beside it is written."""
    width = ctypes.sizeof(ctype)
    for at in (0, 1, 2, 3, 5, 7, PAGE_SIZE - 1, PAGE_SIZE - width + 1, 4 * PAGE_SIZE - width):
        for value in values:
            poke(start, b"\xaa" * 4 * PAGE_SIZE)
            uaccess.put_user(start + at, ctype, value)
            assert uaccess.get_user(start + at, ctype) == value, at
            raw = peek(start + at, width)
            if isinstance(value, int) and not isinstance(value, bool):
                assert raw == (value % 2 ** (8 * width)).to_bytes(width, byte_order(ctype)), (at, value)
            assert peek(start, 4 * PAGE_SIZE) == (b"\xaa" * at + raw).ljust(4 * PAGE_SIZE, b"\xaa"), (at, value)


def test_pointer_objects_are_put_as_their_address(start: int) -> None:
    """Pointers, functions and text pointers are written as what they point to, and got back as an int."""
    number = ctypes.c_int(5)
    text = ctypes.c_char_p(b"text")
    function = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)
    pointers: list[Any] = [ctypes.pointer(number), ctypes.c_void_p(ctypes.addressof(number)), text, function]
    for pointer in pointers:
        uaccess.put_user(start, ctypes.c_void_p, pointer)
        assert uaccess.get_user(start, ctypes.c_void_p) == ctypes.cast(pointer, ctypes.c_void_p).value


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_wchar) == 2, reason="every wchar_t is a character here")
def test_a_wide_character_that_is_none_is_an_error(start: int) -> None:
    """get_user of a c_wchar above the last character raises ValueError."""
    uaccess.put_user(start, ctypes.c_uint32, 0x110000)
    with pytest.raises(ValueError, match="character"):
        uaccess.get_user(start, ctypes.c_wchar)


def test_any_nonzero_byte_is_true(start: int) -> None:
    """get_user of a c_bool is a bool whatever byte is there."""
    for byte in (1, 2, 128, 255):
        uaccess.put_user(start, ctypes.c_uint8, byte)
        assert uaccess.get_user(start, ctypes.c_bool) is True


def test_strings_end_at_the_last_good_byte_or_the_limit(start: int) -> None:
    """The terminator may be the last good byte; without one, the limit decides between a string and TooLongError."""
    for length in (0, 1, 15, 16, 17, 100, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE):
        text, at = pattern(length), end_of(start) - length - 1
        poke(at, text + b"\0")
        for limit in (length + 1, length + 2, FAR):
            assert uaccess.strnlen_user(at, limit) == length, (length, limit)
            assert uaccess.strncpy_from_user(at, limit) == text, (length, limit)
        assert uaccess.strnlen_user(at, length) == length, length
        if length:
            with pytest.raises(TooLongError) as caught:
                uaccess.strncpy_from_user(at, length)
            assert (caught.value.address, caught.value.limit) == (at, length)
            assert uaccess.strnlen_user(at, length - 1) == length - 1, length


def test_a_needle_is_found_wherever_it_lies(start: int) -> None:
    """Across a page edge, ending at the last good byte, before bad memory that the size includes, first of several."""
    for needle in (b"n", b"ne", b"needle", pattern(300), pattern(PAGE_SIZE + 5)):
        for at in (0, 1, PAGE_SIZE - 1, PAGE_SIZE - len(needle) // 2, 4 * PAGE_SIZE - len(needle)):
            poke(start, bytes(4 * PAGE_SIZE))
            poke(end_of(start) - len(needle), needle)
            poke(start + max(at, 0), needle)
            for size in (4 * PAGE_SIZE, 4 * PAGE_SIZE + 1, FAR):
                assert uaccess.find_in_user(start, size, needle) == max(at, 0), (len(needle), at, size)
            short = max(at, 0) + len(needle) - 1
            assert uaccess.find_in_user(start, short, needle) is None, (len(needle), at)
    assert uaccess.find_in_user(start, 10, b"") == 0
    assert uaccess.find_in_user(start, 0, b"x") is None


class Known(ctypes.Structure):
    _fields_ = (("first", ctypes.c_uint64), ("second", ctypes.c_uint32), ("third", ctypes.c_uint32))


def test_structures_come_from_older_and_newer_callers(start: int) -> None:
    """What an older caller does not know is zero, what a newer one adds must be zero, else E2BIG."""
    poke(start, bytes(Known(7, 8, 9)) + bytes(100))
    whole = uaccess.copy_struct_from_user(start, 16, Known)
    assert (whole.first, whole.second, whole.third) == (7, 8, 9)
    older = uaccess.copy_struct_from_user(start, 12, Known)
    assert (older.first, older.second, older.third) == (7, 8, 0)
    assert bytes(uaccess.copy_struct_from_user(start, 14, Known)) == bytes(Known(7, 8, 9))[:14] + bytes(2)
    assert uaccess.copy_struct_from_user(start, 0, Known).first == 0
    newer = uaccess.copy_struct_from_user(start, 116, Known)
    assert (newer.first, newer.second, newer.third) == (7, 8, 9)
    for extra in (16, 17, 63, 115):
        poke(start + 16, bytes(100))
        poke(start + extra, b"\x01")
        with pytest.raises(UserMemoryError, match=f"byte {extra} of 116") as caught:
            uaccess.copy_struct_from_user(start, 116, Known)
        assert caught.value.errno == errno.E2BIG
        assert uaccess.copy_struct_from_user(start, extra, Known).first == 7


def test_structures_of_every_kind_are_copied(start: int) -> None:
    """Unions, arrays and simple types come as objects of their type, independent of the memory."""

    class Either(ctypes.Union):
        _fields_ = (("whole", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 4))

    poke(start, b"\x01\x02\x03\x04")
    either = uaccess.copy_struct_from_user(start, 4, Either)
    several = uaccess.copy_struct_from_user(start, 4, ctypes.c_uint8 * 4)
    simple = uaccess.copy_struct_from_user(start, 4, ctypes.c_uint16 * 2)
    poke(start, bytes(4))
    assert list(either.bytes) == list(several) == [1, 2, 3, 4]
    assert bytes(simple) == b"\x01\x02\x03\x04"


def test_zero_checks_see_every_byte(start: int) -> None:
    """One byte that is not zero, anywhere in the span, is seen; one beside the span is not."""
    for size in SIZES:
        at = start + 3
        assert uaccess.check_zeroed_user(at, size) is True
        for place in {0, size // 2, size - 1}:
            poke(at + place, b"\x80")
            assert uaccess.check_zeroed_user(at, size) is False, (size, place)
            poke(at + place, b"\0")
        poke(at - 1, b"\1")
        poke(at + size, b"\1")
        assert uaccess.check_zeroed_user(at, size) is True, size
        poke(at - 1, b"\0")
        poke(at + size, b"\0")
    poke(end_of(start) - 1, b"\1")
    assert uaccess.check_zeroed_user(start, FAR) is False, "a byte before the edge decides"


def test_no_byte_of_a_span_is_overlooked(start: int) -> None:
    """At each place in turn, a single byte is seen by the zero check, strnlen and find."""
    at, size = start + 3, 2 * PAGE_SIZE
    zeros, ones = bytes(size), b"\x01" * size
    for place in range(0, size, 1 if PAGE_SIZE == 4096 else 7):
        poke(at + place, b"\x80")
        assert uaccess.check_zeroed_user(at, size) is False, place
        assert uaccess.find_in_user(at, size, b"\x80") == place
        poke(at + place, b"\0")
    assert peek(at, size) == zeros
    poke(at, ones)
    for place in range(0, size, 1 if PAGE_SIZE == 4096 else 7):
        poke(at + place, b"\0")
        assert uaccess.strnlen_user(at, size) == place
        poke(at + place, b"\x01")


@checked
@given(at=offsets, size=offsets, seed=st.integers(0, 2**32), density=st.sampled_from([1, 3, 100, 4000]))
def test_scans_agree_with_plain_python(at: int, size: int, seed: int, density: int) -> None:
    """strnlen, zero check, find and copies give what bytes methods give, at any offset and size."""
    chosen = random.Random(seed)
    data = bytearray(4 * PAGE_SIZE)
    for _ in range(len(data) // density if chosen.random() < 0.9 else 0):
        data[chosen.randrange(len(data))] = chosen.choice(b"ab\0")
    if chosen.random() < 0.5:
        data = data.replace(b"\0", b"c")
        data[chosen.randrange(len(data))] = 0
    with good_memory() as start:
        poke(start, bytes(data))
        span = bytes(data[at : at + size])
        assert uaccess.copy_from_user(start + at, size) == span
        assert uaccess.check_zeroed_user(start + at, size) == (not any(span))
        assert uaccess.strnlen_user(start + at, size) == len(span.partition(b"\0")[0])
        for needle in (b"a", b"ab", bytes(3), span[size // 2 :][: chosen.randrange(1, 400)]):
            found = span.find(needle)
            assert uaccess.find_in_user(start + at, size, needle) == (None if found < 0 else found)


@checked
@given(source=offsets, target=offsets, size=offsets)
def test_copy_in_user_is_memmove(source: int, target: int, size: int) -> None:
    """Any overlap in either direction leaves what moving a bytearray's bytes leaves."""
    with good_memory() as start:
        data = bytearray(pattern(4 * PAGE_SIZE))
        poke(start, bytes(data))
        uaccess.copy_in_user(start + target, start + source, size)
        data[target : target + size] = data[source : source + size]
        assert peek(start, len(data)) == data
