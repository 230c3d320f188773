# SPDX-License-Identifier: MIT
"""What the guard costs a C program that calls the library, against the same work without a guard."""

from __future__ import annotations

import ctypes
from ctypes import c_void_p
from typing import TYPE_CHECKING

import pytest
from compiled import in_c
from interleave import Unavailable
from memory import NOT_MAPPED, SIZES, Memory
from units import in_bytes

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "C"

GUARD_MAY_ADD = 10e-9
SMALL = 64
"""Bytes up to which a call is small: the guard's cost, not the memory's, is what one would notice."""

OPERATIONS = (
    ("memcpy_from", "axp_copy_from_user"),
    ("strnlen_memcpy", "axp_strncpy_from_user"),
    ("memcpy_to", "axp_copy_to_user"),
    ("memmove", "axp_copy_in_user"),
    ("memset", "axp_fill_user"),
    ("strnlen", "axp_strnlen_user"),
    ("memmem", "axp_find_in_user"),
    ("memcmp", "axp_find_nonzero_user"),
    ("touch_read", "axp_probe_read"),
    ("touch_write", "axp_probe_write"),
)


@pytest.fixture(scope="module")
def calls(rivals: Rivals) -> ctypes.CDLL:
    """The compiled side."""
    if isinstance(rivals.calls, Unavailable):
        pytest.skip(rivals.calls.reason)
    return rivals.calls


@pytest.mark.parametrize(("plain", "guarded"), [("plain_load", "axp_load"), ("plain_store", "axp_store")])
def test_word(compare: Compare, bars: Bars, calls: ctypes.CDLL, memory: Memory, plain: str, guarded: str) -> None:
    """A word, guarded, against a function that does nothing else."""
    names = (plain, guarded)
    samples = compare(
        guarded, {name: in_c(calls, name, memory.user, memory.own, 8) for name in names}, column=in_bytes(8)
    )
    bars.added(f"{guarded} of 8 B", samples, guarded, to=plain, at_most=GUARD_MAY_ADD)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("plain", "guarded"), OPERATIONS)
def test_span(
    compare: Compare, bars: Bars, calls: ctypes.CDLL, memory: Memory, plain: str, guarded: str, size: int
) -> None:
    """A span, guarded, against libc."""
    memory.fill(memory.user, 0 if plain == "memcmp" else ord("a"), size)
    names = (plain, guarded)
    samples = compare(
        guarded, {name: in_c(calls, name, memory.user, memory.own, size) for name in names}, column=in_bytes(size)
    )
    if size <= SMALL:
        bars.added(f"{guarded} of {size} B", samples, guarded, to=plain, at_most=GUARD_MAY_ADD)


@pytest.mark.parametrize("size", SIZES)
def test_overlap(compare: Compare, calls: ctypes.CDLL, memory: Memory, size: int) -> None:
    """A copy to 8 bytes above its source, which must be known to succeed before it starts."""
    names = ("memmove_up", "axp_copy_in_user_up")
    alternatives = {name: in_c(calls, name, memory.user, memory.own, size) for name in names}
    compare("axp_copy_in_user, overlapping", alternatives, column=in_bytes(size))


def test_fault(compare: Compare, calls: ctypes.CDLL, memory: Memory) -> None:
    """A fault, from the call to the fault record."""
    edge = calls["map_edge"]
    edge.restype = c_void_p
    compare(
        "From the call to the fault record",
        {
            "axp_load": in_c(calls, "fault_axp_load", NOT_MAPPED, memory.own, 8),
            "axp_probe_read": in_c(calls, "fault_axp_probe_read", NOT_MAPPED, memory.own, 8),
            "axp_copy_from_user": in_c(calls, "fault_axp_copy_from_user", NOT_MAPPED, memory.own, 64),
            "axp_copy_to_user": in_c(calls, "fault_axp_copy_to_user", NOT_MAPPED, memory.own, 64),
            "axp_copy_from_user, halfway": in_c(calls, "fault_axp_copy_from_user", edge() - 32, memory.own, 64),
            "axp_copy_to_user, halfway": in_c(calls, "fault_axp_copy_to_user", edge() - 32, memory.own, 64),
        },
    )
