# SPDX-License-Identifier: MIT
"""Atomics: what they return, what they leave, and that they are atomic."""

import ctypes
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from child import LONG
from helpers_memory import END, LAST_CHARACTER, READ, WRITE, fault_of, good_memory, peek, poke, refused, seen

from axptr_native import PAGE_SIZE, FaultReason, atomics
from axptr_native._native import lib_dropping_gil

INTEGERS: list[type[Any]] = [
    ctypes.c_int8,
    ctypes.c_uint8,
    ctypes.c_int16,
    ctypes.c_uint16,
    ctypes.c_int32,
    ctypes.c_uint32,
    ctypes.c_int64,
    ctypes.c_uint64,
]
FETCHES: dict[str, tuple[Callable[[int, type[Any], int], int], Callable[[int, int], int]]] = {
    "add": (atomics.fetch_add, lambda a, b: a + b),
    "and": (atomics.fetch_and, lambda a, b: a & b),
    "or": (atomics.fetch_or, lambda a, b: a | b),
    "xor": (atomics.fetch_xor, lambda a, b: a ^ b),
}


@pytest.fixture
def at() -> Iterator[int]:
    """The address of a word in good memory, with a byte pattern on both sides of it."""
    with good_memory(1) as start:
        poke(start, b"\xa5" * 64)
        yield start + 32


def values_of(ctype: type[Any]) -> list[int]:
    """Return the type's ends, and some values between them."""
    bits = 8 * ctypes.sizeof(ctype)
    low, high = (0, 2**bits - 1) if ctype(-1).value > 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return [low, low + 1, 0, 1, 0x55, high // 3, high - 1, high]


@pytest.mark.parametrize("ctype", INTEGERS)
def test_store_load_and_exchange_keep_every_value(ctype: type[Any], at: int) -> None:
    """What is stored is loaded, exchange returns what was there, and no neighbour changes."""
    width = ctypes.sizeof(ctype)
    previous = None
    for value in values_of(ctype):
        if previous is not None:
            assert atomics.exchange(at, ctype, value) == previous, value
        else:
            atomics.store(at, ctype, value)
        assert atomics.load(at, ctype) == value
        assert peek(at, width) == bytes(ctype(value)), value
        assert peek(at - 32, 64) == b"\xa5" * 32 + bytes(ctype(value)) + b"\xa5" * (32 - width), value
        previous = value
        atomics.store(at, ctype, value)
        assert atomics.load(at, ctype) == value


@pytest.mark.parametrize("ctype", INTEGERS)
@pytest.mark.parametrize("name", FETCHES)
def test_fetch_returns_what_was_there_and_wraps(name: str, ctype: type[Any], at: int) -> None:
    """The result is plain Python's, modulo 2 to the bits, for operands of both signs and beyond the type."""
    fetch, model = FETCHES[name]
    width = ctypes.sizeof(ctype)
    for value in values_of(ctype):
        for operand in [*values_of(ctype), -1, -2, 2**63, -(2**63), 2**64 - 1, 2**64, 2**70 + 3, -(2**70)]:
            told = f"{name}: {value} and {operand}"
            poke(at, bytes(ctype(value)))
            assert fetch(at, ctype, operand) == value, told
            assert peek(at, width) == bytes(ctype(model(value, operand))), told
    assert peek(at - 32, 32) == b"\xa5" * 32
    assert peek(at + width, 32 - width) == b"\xa5" * (32 - width)


@pytest.mark.parametrize("ctype", INTEGERS)
def test_compare_exchange_writes_only_what_was_expected(ctype: type[Any], at: int) -> None:
    """Success returns what was expected and writes; failure returns what was there and writes nothing."""
    values = values_of(ctype)
    for there in values:
        for expected in values:
            told = f"{there} there, {expected} expected"
            poke(at, bytes(ctype(there)))
            assert atomics.compare_exchange(at, ctype, expected, 77) == there, told
            assert atomics.load(at, ctype) == (77 if there == expected else there), told


def test_compare_exchange_compares_bits_not_values(at: int) -> None:
    """A NaN equals itself, and minus zero differs from zero."""
    atomics.store(at, ctypes.c_double, float("nan"))
    atomics.compare_exchange(at, ctypes.c_double, float("nan"), 1.5)
    assert atomics.load(at, ctypes.c_double) == 1.5
    atomics.store(at, ctypes.c_double, -0.0)
    atomics.compare_exchange(at, ctypes.c_double, 0.0, 2.5)
    assert atomics.load(at, ctypes.c_double) == 0.0


@pytest.mark.parametrize(
    ("ctype", "first", "second"),
    [
        (ctypes.c_float, 1.5, -2.25),
        (ctypes.c_double, 1e300, -0.1),
        (ctypes.c_bool, True, False),
        (ctypes.c_char, b"a", b"\xff"),
        (ctypes.c_wchar, "a", LAST_CHARACTER),
        (ctypes.c_void_p, 0x1234, None),
        (ctypes.c_char_p, 0x1, END - 1),
        (ctypes.POINTER(ctypes.c_int), None, 0x10),
        (ctypes.c_int32.__ctype_be__, 1, -2),
        (ctypes.c_uint64.__ctype_le__, 1, 2**64 - 1),
    ],
)
def test_other_types_are_stored_and_exchanged_too(ctype: type[Any], first: object, second: object, at: int) -> None:
    """Every operation but arithmetic takes every simple and pointer type."""
    atomics.store(at, ctype, first)
    assert atomics.load(at, ctype) == first
    assert atomics.compare_exchange(at, ctype, second, second) == first
    assert atomics.load(at, ctype) == first
    assert atomics.exchange(at, ctype, second) == first
    assert atomics.compare_exchange(at, ctype, second, first) == second
    assert atomics.load(at, ctype) == first


@pytest.mark.parametrize("name", FETCHES)
def test_arithmetic_refuses_what_is_no_native_integer(name: str, at: int) -> None:
    """TypeError for floats, pointers, text and the other byte order, and nothing is written."""
    fetch, _ = FETCHES[name]
    swapped = ctypes.c_int32.__ctype_be__ if sys.byteorder == "little" else ctypes.c_int32.__ctype_le__
    refused_types: list[type[Any]] = [ctypes.c_float, ctypes.c_bool, ctypes.c_char, ctypes.c_void_p, swapped]
    for ctype in refused_types:
        with pytest.raises(TypeError, match="integer type"):
            fetch(at, ctype, 1)
    assert peek(at, 8) == b"\xa5" * 8


@pytest.mark.parametrize("ctype", INTEGERS)
def test_a_misaligned_atomic_is_refused_and_changes_nothing(ctype: type[Any], at: int) -> None:
    """MISALIGNED with its address, no signal, and the bytes stay: for good memory as for bad."""
    width = ctypes.sizeof(ctype)
    for offset in range(1, width):
        for base in (at, 0x1000, END // 2, END - 64):
            address = base + offset
            told = f"{address:#x}"
            error = fault_of(partial(atomics.load, address, ctype), told)
            assert seen(error) == refused(address, FaultReason.MISALIGNED, READ), told
            for operation in (atomics.store, atomics.exchange, *(fetch for fetch, _ in FETCHES.values())):
                error = fault_of(partial(operation, address, ctype, 1), told)
                assert seen(error) == refused(address, FaultReason.MISALIGNED, WRITE), told
            error = fault_of(
                partial(atomics.compare_exchange, address, ctype, 1, 1),
                told,
            )
            assert seen(error) == refused(address, FaultReason.MISALIGNED, WRITE), told
    assert peek(at - 32, 64) == b"\xa5" * 64


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run ``work`` in so many threads at once, switching often, and raise what one of them raised."""
    together = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        together.wait()
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


@pytest.mark.parametrize("ctype", INTEGERS)
def test_concurrent_additions_are_all_counted(ctype: type[Any], at: int) -> None:
    """Eight threads that add to one word leave the exact sum, modulo its bits."""
    atomics.store(at, ctype, 0)

    def add(number: int) -> None:
        for _ in range(1000):
            atomics.fetch_add(at, ctype, number - 2)

    in_threads(8, add)
    assert atomics.load(at, ctype) == ctype(sum(number - 2 for number in range(8)) * 1000).value


def test_concurrent_additions_without_the_gil_are_all_counted(at: int) -> None:
    """So do threads whose calls drop the GIL, and no two of them see the same value."""
    atomics.store(at, ctypes.c_uint32, 0)
    seen_by: list[list[int]] = [[] for _ in range(8)]

    def add(number: int) -> None:
        one, previous = ctypes.c_uint32(1), ctypes.c_uint32()
        own, was = ctypes.addressof(one), ctypes.addressof(previous)
        for _ in range(500):
            assert lib_dropping_gil.axp_atomic_fetch_add(at, 4, own, was) == 0
            seen_by[number].append(previous.value)

    in_threads(8, add)
    assert atomics.load(at, ctypes.c_uint32) == 4000
    assert sorted(value for values in seen_by for value in values) == list(range(4000))


def test_concurrent_compare_exchange_loses_no_update(at: int) -> None:
    """A counter kept by compare_exchange in a loop comes out exact."""
    atomics.store(at, ctypes.c_uint64, 0)

    def count(_: int) -> None:
        for _ in range(300):
            there = atomics.load(at, ctypes.c_uint64)
            while (found := atomics.compare_exchange(at, ctypes.c_uint64, there, there + 1)) != there:
                there = found

    in_threads(8, count)
    assert atomics.load(at, ctypes.c_uint64) == 2400


HAMMER = """
import ctypes, mmap, sys
from axptr_native import atomics
from axptr_native._native import lib

path, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, "r+b") as file:
    memory = mmap.mmap(file.fileno(), 0)
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
bit, others, one, previous = (ctypes.c_uint64(n) for n in (1 << number, ~(1 << number), 1, 0))
to_bit, to_others, to_one, to_previous = map(ctypes.addressof, (bit, others, one, previous))
wrong = 0
atomics.fetch_add(at + 24, ctypes.c_uint64, 1)
while atomics.load(at + 24, ctypes.c_uint64) < 4:
    pass
for _ in range(rounds):
    lib.axp_atomic_fetch_add(at, 8, to_one, to_previous)
    lib.axp_atomic_fetch_or(at + 8, 8, to_bit, to_previous)
    wrong += bool(previous.value & bit.value)
    lib.axp_atomic_fetch_and(at + 8, 8, to_others, to_previous)
    wrong += not previous.value & bit.value
    lib.axp_atomic_fetch_xor(at + 16, 8, to_bit, to_previous)
print(wrong)
"""


def test_processes_that_share_memory_lose_no_update(tmp_path: Path) -> None:
    """Four processes, which no GIL keeps apart, add to one word and flip their own bits of others: all of it counts."""
    path, rounds = tmp_path / "shared", 60_001
    path.write_bytes(bytes(PAGE_SIZE))
    command = [sys.executable, "-c", HAMMER, str(path)]
    workers = [
        subprocess.Popen([*command, str(number), str(rounds)], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    try:
        printed = [worker.communicate(timeout=LONG)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    words = struct.unpack_from("=QQQQ", path.read_bytes())
    assert printed == ["0\n"] * 4
    assert words == (4 * rounds, 0, 0b1111, 4)


@pytest.mark.parametrize("ctype", [ctypes.c_uint8, ctypes.c_int16, ctypes.c_uint32, ctypes.c_int64])
def test_values_that_do_not_fit_are_refused_unwritten(ctype: type[Any], at: int) -> None:
    """store, exchange and compare_exchange raise ValueError for an integer out of range, TypeError for no integer."""
    for value in (values_of(ctype)[0] - 1, values_of(ctype)[-1] + 1, 2**64, -(2**64), 2**70):
        with pytest.raises(ValueError, match="does not fit"):
            atomics.store(at, ctype, value)
        with pytest.raises(ValueError, match="does not fit"):
            atomics.exchange(at, ctype, value)
        with pytest.raises(ValueError, match="does not fit"):
            atomics.compare_exchange(at, ctype, value, 0)
        with pytest.raises(ValueError, match="does not fit"):
            atomics.compare_exchange(at, ctype, 0, value)
    for wrong in (1.5, "1", None, b"1", [1]):
        with pytest.raises(TypeError):
            atomics.store(at, ctype, wrong)
        with pytest.raises(TypeError):
            atomics.fetch_add(at, ctype, wrong)  # type: ignore[arg-type]
    assert peek(at - 32, 64) == b"\xa5" * 64
