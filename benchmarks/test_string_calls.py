# SPDX-License-Identifier: MIT
"""What it costs to find the end of a string, or something in memory."""

from __future__ import annotations

import ctypes
from ctypes import c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

import pytest
from interleave import python
from units import in_bytes

from axptr_native import uaccess

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from memory import Memory
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "Strings and searches"

NEEDLE = b"not here"
MAY_TAKE_OF_STRLEN = {16: 1.5, 1 << 12: 1.2, 1 << 20: 1.1}


@pytest.mark.parametrize("size", [16, 64, 1 << 12, 1 << 16, 1 << 20])
def test_string(compare: Compare, bars: Bars, memory: Memory, rivals: Rivals, size: int) -> None:
    """A string of unknown length, its terminator included in the size."""
    memory.fill(memory.user, ord("a"), size - 1)
    memory.fill(memory.user + size - 1, 0, 1)
    names: dict[str, Any] = {"addr": memory.user, "limit": size}
    samples = compare(
        "A string of unknown length, by its size",
        {
            "strncpy_from_user": python("strncpy(addr, limit)", strncpy=uaccess.strncpy_from_user, **names),
            "floor extension": rivals.floor("string(addr)", **names),
            "floor extension, by size_t": rivals.lower_floor("string(addr)", **names),
            "strnlen, in C": rivals.in_c("strnlen", memory.user, memory.own, size),
            "ctypes.string_at": python("string_at(addr)", string_at=ctypes.string_at, **names),
            "cffi: string": rivals.cffi("string(cast(chars, addr))", **names),
        },
        column=in_bytes(size),
    )
    if size in MAY_TAKE_OF_STRLEN:
        operation, at_most = f"strncpy_from_user of {in_bytes(size)}", MAY_TAKE_OF_STRLEN[size]
        bars.ratio(operation, samples, "strncpy_from_user", to="floor extension", at_most=at_most)


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("size", [64, 1 << 12, 1 << 16, 1 << 20])
def test_wide_string(compare: Compare, memory: Memory, rivals: Rivals, width: int, size: int) -> None:
    """Elements before a zero one, of which there is none."""
    memory.fill(memory.user, ord("a"), size)
    plain = "wcsnlen" if width == 4 else f"plain_strnlen{8 * width}"
    names = {
        f"{'wcsnlen' if width == 4 else 'a loop'}, in C": plain,
        "axp_strnlen_user": f"axp_strnlen_user{8 * width}",
    }
    compare(
        f"The length of a string of {width}-byte elements, in C",
        {name: rivals.in_c(timed, memory.user, memory.own, size) for name, timed in names.items()},
        column=in_bytes(size),
    )


@pytest.mark.parametrize("size", [64, 1 << 12, 1 << 16, 1 << 20, 1 << 26])
def test_search(compare: Compare, memory: Memory, rivals: Rivals, size: int) -> None:
    """Eight bytes that are not there."""
    memory.fill(memory.user, ord("a"), size)
    memmem = ctypes.PyDLL(None)["memmem"]
    memmem.restype, memmem.argtypes = c_void_p, (c_void_p, c_size_t, c_void_p, c_size_t)
    names: dict[str, Any] = {"addr": memory.user, "size": size, "needle": NEEDLE}
    compare(
        "A search for 8 bytes that are not there",
        {
            "find_in_user": python("find_in_user(addr, size, needle)", find_in_user=uaccess.find_in_user, **names),
            "bytes.find, of a copy": python("data.find(needle)", data=b"a" * size, **names),
            "memmem, by ctypes": python("memmem(addr, size, needle, 8)", memmem=memmem, **names),
            "memmem, in C": rivals.in_c("memmem", memory.user, memory.own, size),
        },
        column=in_bytes(size),
    )
