# SPDX-License-Identifier: MIT
"""Addresses and sizes that nobody should pass: every function answers, none crashes or wraps."""

import ctypes
import enum
import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers_memory import END, READ, WRITE, Indexed, fault_of, good_memory, peek, poke, refused, seen

from axptr_native import PAGE_SIZE, FaultReason, MappingFlags, VirtAddr, atomics, uaccess
from axptr_native._native import ADDRESS_MAX, Fault, lib
from axptr_native._regions import is_x86_64

BYTE = ctypes.c_uint8
own = bytearray(64)
SCRATCH = ctypes.create_string_buffer(64)
SCRATCH_AT = ctypes.addressof(SCRATCH)

Call = Callable[[Any], object]
SizedCall = Callable[[Any, Any], object]

FIXED: dict[str, tuple[MappingFlags, Call]] = {
    "copy_from_user_into": (READ, lambda addr: uaccess.copy_from_user_into(addr, own)),
    "copy_to_user": (WRITE, lambda addr: uaccess.copy_to_user(addr, b"x" * 64)),
    "get_user": (READ, lambda addr: uaccess.get_user(addr, BYTE)),
    "put_user": (WRITE, lambda addr: uaccess.put_user(addr, BYTE, 1)),
    "load": (READ, lambda addr: atomics.load(addr, BYTE)),
    "store": (WRITE, lambda addr: atomics.store(addr, BYTE, 1)),
    "exchange": (WRITE, lambda addr: atomics.exchange(addr, BYTE, 1)),
    "compare_exchange": (WRITE, lambda addr: atomics.compare_exchange(addr, BYTE, 1, 1)),
    "fetch_add": (WRITE, lambda addr: atomics.fetch_add(addr, BYTE, 0)),
    "fetch_and": (WRITE, lambda addr: atomics.fetch_and(addr, BYTE, 255)),
    "fetch_or": (WRITE, lambda addr: atomics.fetch_or(addr, BYTE, 0)),
    "fetch_xor": (WRITE, lambda addr: atomics.fetch_xor(addr, BYTE, 0)),
}
"""Functions whose size is not an argument: an address and, for the sake of the matrix, at most 64 bytes."""

SIZED: dict[str, tuple[MappingFlags, SizedCall]] = {
    "copy_from_user": (READ, uaccess.copy_from_user),
    "copy_in_user": (WRITE, lambda addr, size: uaccess.copy_in_user(addr, SCRATCH_AT, size)),
    "copy_in_user's source": (READ, lambda addr, size: uaccess.copy_in_user(SCRATCH_AT, addr, size)),
    "clear_user": (WRITE, uaccess.clear_user),
    "strnlen_user": (READ, uaccess.strnlen_user),
    "strncpy_from_user": (READ, uaccess.strncpy_from_user),
    "copy_struct_from_user": (READ, lambda addr, size: uaccess.copy_struct_from_user(addr, size, BYTE * 8)),
    "check_zeroed_user": (READ, uaccess.check_zeroed_user),
    "find_in_user": (READ, lambda addr, size: uaccess.find_in_user(addr, size, b"x")),
    "probe_read": (READ, uaccess.probe_read),
    "probe_write": (WRITE, uaccess.probe_write),
}
PROBES = {"probe_read", "probe_write"}

KERNEL_HALF = (0xFFFF_8000_0000_0000, 0xFFFF_8000_0000_0001)
UNMAPPED = tuple(at for at in (0, 1, 4095, END - PAGE_SIZE, END - 4096, *KERNEL_HALF) if at < END)
OUTSIDE_48_BITS = (1 << 47, (1 << 47) + 1, 1 << 50, 1 << 62, 1 << 63, (1 << 63) + 8, 0xFFFF_7FFF_FFFF_FF00)
NOT_CANONICAL = tuple(address for address in OUTSIDE_48_BITS if address < END)
OUTSIDE = (-1, -(END // 2), -END, END, END + 5, 2**70, 10**400)


def has_57_bits() -> bool:
    """Return whether the system says that the processor does, or does not say."""
    try:
        return " la57 " in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


ADDRESS_BITS = 57 if has_57_bits() else 48


def is_never_canonical(address: int) -> bool:
    """Return whether this processor, an x86-64 one, cannot form the address."""
    half = 1 << (ADDRESS_BITS - 1)
    return is_x86_64() and half <= address < END - half


@pytest.fixture(autouse=True)
def _blank_scratch() -> None:
    SCRATCH.raw = bytes(64)


def test_every_function_is_in_the_matrix() -> None:
    """A function that is new to the modules must be added to the tables."""
    names = {name.partition("'")[0] for name in (*FIXED, *SIZED)}
    assert names == {*uaccess.__all__, *atomics.__all__}


def with_size(call: SizedCall, size: int, address: int) -> object:
    return call(address, size)


def all_calls(size: int) -> list[tuple[str, MappingFlags, Call]]:
    calls = [(name, access, call) for name, (access, call) in FIXED.items()]
    for name, (access, sized) in SIZED.items():
        calls.append((name, access, partial(with_size, sized, size)))
    return calls


def check_fault(name: str, access: MappingFlags, call: Call, address: int, reasons: set[FaultReason]) -> None:
    told = f"{name} at {address:#x}"
    if name in PROBES:
        assert call(address) == 0, told
        return
    error = fault_of(partial(call, address), told)
    assert (error.address, error.access, error.transferred) == (address, access, 0), told
    assert error.reason in reasons, f"{told}: {error.reason!r}"
    assert error.signal is not None, told


@pytest.mark.parametrize("size", [1, 8, 64])
def test_addresses_where_nothing_is_mapped_fault(size: int) -> None:
    """Null, the kernel's half and the top of the address space are NOT_MAPPED at their own address."""
    for name, access, call in all_calls(size):
        for address in UNMAPPED:
            check_fault(name, access, call, address, {FaultReason.NOT_MAPPED})


@pytest.mark.parametrize("size", [1, 8, 64])
def test_addresses_that_no_processor_forms_fault(size: int) -> None:
    """Non-canonical addresses are reported as such, at the address that was passed."""
    either = {FaultReason.NOT_CANONICAL, FaultReason.NOT_MAPPED}
    for name, access, call in all_calls(size):
        for address in NOT_CANONICAL:
            check_fault(
                name, access, call, address, {FaultReason.NOT_CANONICAL} if is_never_canonical(address) else either
            )


@pytest.mark.parametrize("size", [0, 1, 64])
def test_addresses_outside_the_address_space_are_refused(size: int) -> None:
    """They do not wrap: OUT_OF_RANGE with the very number, no signal, even for size 0."""
    for name, access, call in all_calls(size):
        for address in OUTSIDE:
            told = f"{name} at {address:#x}"
            error = fault_of(partial(call, address), told)
            assert (error.address, error.access, error.transferred) == (address, access, 0), told
            assert (error.reason, error.signal) == (FaultReason.OUT_OF_RANGE, None), told


def test_an_address_that_would_wrap_onto_good_memory_is_refused() -> None:
    """The width of an address and a good address are not that address, in either direction, and nothing is written."""
    good = ctypes.create_string_buffer(b"\xaa" * 64)
    for name, _, call in all_calls(8):
        for wrapped in (ctypes.addressof(good) + END, ctypes.addressof(good) - END):
            error = fault_of(partial(call, wrapped), f"{name} at {wrapped:#x}")
            assert (error.address, error.reason) == (wrapped, FaultReason.OUT_OF_RANGE), name
    assert good.raw == b"\xaa" * 64 + b"\0"


def test_sizes_that_leave_the_address_space_are_refused() -> None:
    """One byte too many, huge or negative: OUT_OF_RANGE, and not even the good bytes at the start are touched."""
    with good_memory() as start:
        poke(start, b"\xaa" * 100)
        for name, (access, call) in SIZED.items():
            if name == "copy_in_user":
                continue  # its source leaves the address space too, and is looked at first
            for address in (start, 1, 4096, END // 2, END - 4096, END - 1):
                for size in (END - address + 1, END - 1 + (address == 1), END, 2**70, -1, -(END // 2), -END):
                    told = f"{name} at {address:#x} of {size:#x}"
                    error = fault_of(partial(call, address, size), told)
                    assert (error.address, error.access, error.transferred) == (address, access, 0), told
                    assert (error.reason, error.signal) == (FaultReason.OUT_OF_RANGE, None), told
        assert peek(start, 100) == b"\xaa" * 100
    for name, (access, fixed) in FIXED.items():
        if name in ("copy_from_user_into", "copy_to_user"):
            error = fault_of(partial(fixed, END - 63), name)
            assert (error.reason, error.signal) == (FaultReason.OUT_OF_RANGE, None), name
            assert error.access == access
    for width, ctype in ((2, ctypes.c_uint16), (4, ctypes.c_uint32), (8, ctypes.c_uint64)):
        for load in (uaccess.get_user, atomics.load):
            error = fault_of(partial(load, END - width + 1, ctype), f"{load.__name__} of {width} bytes")
            assert (error.reason, error.address) == (FaultReason.OUT_OF_RANGE, END - width + 1)
    for address in (-1, END - 63, END):
        buffer = bytearray(b"\xaa" * 64)
        fault_of(partial(uaccess.copy_from_user_into, address, buffer), f"into a buffer, from {address:#x}")
        assert buffer == b"\xaa" * 64


def test_copy_in_user_refuses_each_side_that_leaves_the_address_space() -> None:
    """The source is looked at first, then the target; neither is touched."""
    for size in (END - SCRATCH_AT + 1, END, 2**70, -1):
        error = fault_of(partial(uaccess.copy_in_user, 0, SCRATCH_AT, size), f"{size:#x}")
        assert seen(error) == refused(SCRATCH_AT, FaultReason.OUT_OF_RANGE, READ), f"{size:#x}"
    for size in (END - SCRATCH_AT + 1, END - 1):
        error = fault_of(partial(uaccess.copy_in_user, SCRATCH_AT, 0, size), f"{size:#x}")
        assert seen(error) == refused(SCRATCH_AT, FaultReason.OUT_OF_RANGE, WRITE), f"{size:#x}"


def test_the_largest_sizes_that_fit_fault_where_memory_ends() -> None:
    """Half of the address space, all of it but a byte, and up to the last byte are sizes like any other."""
    for name, (access, call) in SIZED.items():
        for address, size in ((0, END - 1), (0, END // 2), (1, END - 1), (4096, END // 2)):
            if name.startswith("copy_in_user") and SCRATCH_AT + size > END:
                continue  # the other side would leave the address space
            check_fault(name, access, partial(with_size, call, size), address, {FaultReason.NOT_MAPPED})
        for address in (END - 1, END - 4096):
            size = END - address
            check_fault(name, access, partial(with_size, call, size), address, {FaultReason.NOT_MAPPED})
    assert bytes(SCRATCH) == bytes(64)


def test_all_of_the_address_space_is_not_taken_for_nothing() -> None:
    """As many bytes as there are addresses do not fit into a word: they fault and do not become size 0."""
    for name, (access, call) in SIZED.items():
        if name in PROBES or name.startswith("copy_in_user"):
            continue
        error = fault_of(partial(call, 0, END), name)
        assert (error.address, error.access, error.transferred) == (0, access, 0), name
        assert error.reason in (FaultReason.NOT_MAPPED, FaultReason.OUT_OF_RANGE), name
    error = fault_of(partial(uaccess.copy_in_user, 0, 0, END), "copy_in_user")
    assert (error.address, error.transferred) == (0, 0)


def test_size_zero_touches_nothing_wherever_it_is() -> None:
    """Every sized operation succeeds at every address that there is."""
    results = {
        "copy_from_user": b"",
        "strnlen_user": 0,
        "strncpy_from_user": b"",
        "check_zeroed_user": True,
        "probe_read": 0,
        "probe_write": 0,
    }
    for address in (*UNMAPPED, *NOT_CANONICAL, END - 1):
        for name, (_, call) in SIZED.items():
            result = call(address, 0)
            if name == "copy_struct_from_user":
                assert bytes(result) == bytes(8), f"{name} at {address:#x}"  # type: ignore[call-overload]
            else:
                assert result == results.get(name), f"{name} at {address:#x}"
        uaccess.copy_from_user_into(address, bytearray())
        uaccess.copy_to_user(address, b"")
        assert uaccess.copy_from_user(address, 0, partial=True) == b""
        assert uaccess.find_in_user(address, 0, b"") == 0
        assert uaccess.find_in_user(address, 1, b"") == 0


@pytest.mark.parametrize("wrong", ["1", None, 1.0, [1], b"1", (1,), 1j, ctypes.c_int(1), object()])
def test_what_is_no_integer_is_a_type_error(wrong: object) -> None:
    """As an address or as a size, TypeError and not FaultError."""
    for name, _, call in all_calls(8):
        with pytest.raises(TypeError):
            pytest.fail(f"{name}: {call(wrong)!r}")
    for name, (_, sized) in SIZED.items():
        with pytest.raises(TypeError):
            pytest.fail(f"{name}: {sized(0, wrong)!r}")


def test_integer_like_objects_are_addresses_and_sizes() -> None:
    """IntEnum, VirtAddr, bool and __index__ are what they stand for, in an access and in an error."""
    with good_memory() as start:
        poke(start, b"\x07" * 64)
        place = enum.IntEnum("place", {"START": start, "SIZE": 8})
        for address in (VirtAddr(start), Indexed(start), place.START):
            for _, _, call in all_calls(1):
                call(address)
            for size in (place.SIZE, Indexed(8), VirtAddr(8)):
                for _, sized in SIZED.values():
                    poke(start, b"\x07" * 7 + b"\0")
                    sized(address, size)
        assert uaccess.probe_read(start, True) == 1
    for huge in (Indexed(END), Indexed(-1), VirtAddr(2**70)):
        for name, _, call in all_calls(1):
            error = fault_of(partial(call, huge), name)
            assert (error.address, error.reason) == (huge.__index__(), FaultReason.OUT_OF_RANGE)
            assert type(error.address) is VirtAddr


def test_a_search_in_c_that_would_wrap_is_refused() -> None:
    """The C library refuses what the Python functions refuse before they ask it, and tells no place."""
    place, fault = ctypes.c_void_p(7), Fault()
    assert lib.axp_find_nonzero_user(SCRATCH_AT, ADDRESS_MAX - SCRATCH_AT + 2, place) == -errno.EFAULT
    assert lib.axp_take_fault(fault) == 0
    assert (fault.address, FaultReason(fault.reason), place.value) == (SCRATCH_AT, FaultReason.OUT_OF_RANGE, 7)
