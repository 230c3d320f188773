# SPDX-License-Identifier: MIT
"""What batches take for addresses, sizes and buffers, and what they refuse before anything is touched."""

import array
import ctypes
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from helpers_batch import GOOD_SIZE, NOWHERE, words
from helpers_memory import END, Indexed, pattern, peek, poke
from helpers_python import let_go

from axptr_native import PAGE_SIZE, batch
from axptr_native._native import ADDRESS_MAX


def test_no_addresses_make_no_entries(start: int) -> None:
    """Nothing in, nothing out, from any kind of addresses and of any size."""
    kinds: list[Any] = [[], (), array.array("Q"), memoryview(bytes(8)).cast("Q")[:0], iter([])]
    for nothing in kinds:
        for size in (0, 1, 2**64):
            assert batch.gather_from_user(list(nothing), size) == (b"", b"")
        assert batch.probe_many(nothing, 8) == b""
    assert batch.read_strings([], 8) == []
    assert batch.scatter_to_user([], b"") == b""
    with pytest.raises(ValueError, match="0 addresses"):
        batch.scatter_to_user([], b"x")
    assert peek(start, 8) == pattern(8)


def test_size_zero_is_good_at_every_address_of_the_address_space_and_touches_nothing() -> None:
    """Only what is no address is bad, whatever stands beside it."""
    addresses = [*NOWHERE.values(), 1]
    expected = bytes(0 <= address <= ADDRESS_MAX for address in addresses)
    for take in (slice(None), slice(0, 5), slice(5, None)):
        assert batch.gather_from_user(addresses[take], 0) == (b"", expected[take])
        assert batch.probe_many(addresses[take], 0) == expected[take]
        assert batch.scatter_to_user(addresses[take], b"") == expected[take]
        strings = [b"" if ok else None for ok in expected[take]]
        assert batch.read_strings(addresses[take], 0) == strings
    assert batch.probe_many(array.array("q", [-1, 0, -(2**63), min(ADDRESS_MAX, 2**63 - 1)]), 0) == b"\0\1\0\1"
    assert batch.probe_many(array.array("Q", [ADDRESS_MAX, 0]), 0) == b"\1\1"


def check_taken(addresses: Any, start: int, offsets: Sequence[int]) -> None:
    """Assert that all four operations take some kind of addresses."""
    poke(start, pattern(GOOD_SIZE))
    found = [pattern(GOOD_SIZE)[offset : offset + 3] for offset in offsets]
    assert batch.gather_from_user(addresses, 3) == (b"".join(found), b"\1" * len(offsets))
    assert batch.probe_many(addresses, 3) == b"\1" * len(offsets)
    poke(start + GOOD_SIZE - 1, b"\0")
    strings = [pattern(GOOD_SIZE - 1)[offset:] for offset in offsets]
    assert batch.read_strings(addresses, GOOD_SIZE) == strings
    assert batch.scatter_to_user(addresses, b"xyz" * len(offsets)) == b"\1" * len(offsets)
    assert all(peek(start + offset, 3) == b"xyz" for offset in offsets)


def test_every_kind_of_addresses_is_taken(start: int) -> None:
    """Arrays, ctypes arrays, memoryviews with strides or misaligned, sequences, and what has __index__."""
    offsets = [9, 800, PAGE_SIZE, 77]
    plain = [start + offset for offset in offsets]
    raw = bytes(words(plain))
    spread = words([address for pair in zip(plain, [0] * 4, strict=True) for address in pair])
    kinds: list[Any] = [
        plain,
        tuple(plain),
        dict.fromkeys(plain),
        range(start + 8, start + 40, 8),
        words(plain),
        *(array.array(code, plain) for code in "qLl" if array.array(code).itemsize == 8),
        *(kind.from_buffer_copy(raw) for kind in (ctypes.c_uint64 * 4, ctypes.c_int64 * 4)),
        memoryview(raw).cast("Q"),
        memoryview(b"." + raw)[1:].cast("q"),
        *(
            []
            if END == 2**32
            else [
                (ctypes.c_void_p * 4).from_buffer_copy(raw),
                memoryview(raw).cast("N"),  # type: ignore[call-overload]
                memoryview(b"." + raw)[1:].cast("P"),
            ]
        ),
        memoryview(spread)[::2],
        memoryview(words(plain[::-1]))[::-1],
        [Indexed(address) for address in plain],
    ]
    for kind in kinds:
        check_taken(kind, start, [8, 16, 24, 32] if isinstance(kind, range) else offsets)
    assert batch.gather_from_user(iter(plain), 1) == batch.gather_from_user(plain, 1)
    assert batch.gather_from_user((address for address in [*plain, -1]), 1)[1] == b"\1\1\1\1\0"


def test_numpy_arrays_are_taken_and_filled(start: int) -> None:
    """uint64 and int64, with strides too, as addresses; and any contiguous array as what is filled or written."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: its arrays are not tried")
    offsets = [9, 800, PAGE_SIZE, 77]
    for kind in ("u8", "i8"):
        addresses = numpy.array([start + offset for offset in offsets], kind)
        check_taken(addresses, start, offsets)
        check_taken(addresses[::-2], start, offsets[::-2])
    out = numpy.zeros((2, 2), "f8")
    poke(start, bytes(words([1, 2, 3])) + bytes(numpy.array([0.5, 1.5, 2.5, -1.0])))
    found, ok = batch.gather_from_user(numpy.arange(start + 24, start + 56, 8, "u8"), 8, out=out)
    assert found is out
    assert (out.tolist(), ok) == ([[0.5, 1.5], [2.5, -1.0]], b"\1\1\1\1")
    assert batch.probe_many(numpy.array([-1, start, -(2**63)]), 1) == b"\0\1\0"
    for wrong in ("f8", "u4", "i2", "?", "c8", "O", "u8,u8", ">u8" if sys.byteorder == "little" else "<u8"):
        with pytest.raises(TypeError, match="8-byte integers"):
            batch.probe_many(numpy.zeros(2, wrong), 1)
    with pytest.raises(TypeError, match="must be one-dimensional"):
        batch.probe_many(addresses.reshape(2, 2), 1)


def test_chains_are_followed_in_place(start: int) -> None:
    """The buffer that is filled may be that of the addresses, or a part that comes later: each of them is used."""
    table = [start + 8 * entry for entry in range(100)]
    poke(start, bytes(words(table[50:] + table[:50])))
    addresses = words(table)
    found, ok = batch.gather_from_user(addresses, 8, out=addresses)
    assert found is addresses
    assert (list(addresses), ok) == (table[50:] + table[:50], b"\1" * 100)
    assert batch.gather_from_user(addresses, 8, out=addresses)[1] == b"\1" * 100
    assert list(addresses) == table
    both = words([*table, 0])
    ok = batch.gather_from_user(memoryview(both)[:100], 8, out=memoryview(both)[1:])[1]
    assert (list(both), ok) == ([table[0], *table[50:], *table[:50]], b"\1" * 100)


WRONG_ADDRESSES: list[Any] = [
    None,
    5,
    1.5,
    "text",
    b"eight by",
    bytearray(16),
    [1.0],
    ["1"],
    [None],
    [[1]],
    [-1, 1.0],
    [2**64, "1"],
    array.array("d", [1.0]),
    array.array("I", [1]),
    array.array("H", [1]),
    memoryview(bytes(16)),
    memoryview(bytes(32)).cast("B", (4, 8)),
    memoryview(bytes(32)).cast("B").cast("Q", (2, 2)),
    (ctypes.c_double * 2)(),
    (ctypes.c_uint64.__ctype_be__ * 2)() if bytes(words([1]))[0] else (ctypes.c_uint64.__ctype_le__ * 2)(),
    ctypes.c_uint64(5),
]


@pytest.mark.parametrize("wrong", WRONG_ADDRESSES, ids=lambda wrong: type(wrong).__name__)
def test_what_are_no_addresses_is_a_type_error(wrong: Any) -> None:
    """From every operation, before anything is touched: the buffer that was to be filled is as it was."""
    out = bytearray(b"\xaa" * 16)
    calls = (
        lambda: batch.gather_from_user(wrong, 8),
        lambda: batch.gather_from_user(wrong, 8, out=out),
        lambda: batch.scatter_to_user(wrong, b"x" * 16),
        lambda: batch.probe_many(wrong, 8),
        lambda: batch.read_strings(wrong, 8),
    )
    for call in calls:
        with pytest.raises(TypeError):
            call()
    assert out == b"\xaa" * 16
    if isinstance(wrong, bytearray):
        wrong.append(1)  # nobody holds it


def test_sizes_and_buffers_that_do_not_fit_are_refused(start: int) -> None:
    """ValueError, TypeError or BufferError, with neither the memory nor the buffer changed, and the buffer let go."""
    addresses = [start, start + 8]
    out = bytearray(b"\xaa" * 32)
    refusals: list[tuple[type[Exception], Any]] = [
        (ValueError, lambda: batch.gather_from_user(addresses, -1)),
        (ValueError, lambda: batch.probe_many(addresses, -1)),
        (ValueError, lambda: batch.read_strings(addresses, -(2**70))),
        (ValueError, lambda: batch.gather_from_user(addresses, 8, out=out)),
        (ValueError, lambda: batch.gather_from_user(addresses, 17, out=out)),
        (ValueError, lambda: batch.gather_from_user(addresses, 0, out=out)),
        (BufferError, lambda: batch.gather_from_user(addresses, 8, out=memoryview(out)[::2])),
        (TypeError, lambda: batch.gather_from_user(addresses, 8, out=memoryview(out)[:16].toreadonly())),
        (TypeError, lambda: batch.gather_from_user(addresses, 8, out=bytes(16))),
        (TypeError, lambda: batch.gather_from_user(addresses, 8, out=16)),  # type: ignore[call-overload]
        (TypeError, lambda: batch.gather_from_user(addresses, 8.0)),  # type: ignore[call-overload]
        (TypeError, lambda: batch.probe_many(addresses, "8")),  # type: ignore[arg-type]
        (TypeError, lambda: batch.read_strings(addresses, None)),  # type: ignore[arg-type]
        (TypeError, lambda: batch.scatter_to_user(addresses, "text")),  # type: ignore[arg-type]
        (TypeError, lambda: batch.scatter_to_user(addresses, 16)),  # type: ignore[arg-type]
        (ValueError, lambda: batch.scatter_to_user(addresses, b"odd")),
        (ValueError, lambda: batch.scatter_to_user([start] * 3, out)),
        (BufferError, lambda: batch.scatter_to_user(addresses, memoryview(out)[::2])),
    ]
    for error, call in refusals:
        with pytest.raises(error):
            call()
        let_go()  # of the test's own views
        out.append(0xAA)
        out.pop()
    assert out == b"\xaa" * 32
    assert peek(start, GOOD_SIZE) == pattern(GOOD_SIZE)
