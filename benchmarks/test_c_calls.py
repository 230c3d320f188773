# SPDX-License-Identifier: MIT
"""What the guard costs a C program that calls the library, against the same work without a guard."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from ctypes import c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from memory import NOT_MAPPED, SIZES, Memory

import axptr_native

if TYPE_CHECKING:
    from comparing import Bars, Compare
    from interleave import Batch

pytest_plugins = ("comparing",)

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC", "cc")
NANOSECOND = 1e-9

GUARD_MAY_ADD = 10 * NANOSECOND
SMALL = 64
"""Bytes up to which a call is small: the guard's cost, not the memory's, is what one would notice."""

OPERATIONS = (
    ("memcpy_from", "axp_copy_from_user"),
    ("memcpy_memchr", "axp_raw_string_from_user"),
    ("memcpy_to", "axp_copy_to_user"),
    ("memmove", "axp_copy_in_user"),
    ("memset", "axp_fill_user"),
    ("strnlen", "axp_strnlen_user"),
    ("wcsnlen", "axp_strnlen_user_wide"),
    ("memmem", "axp_find_in_user"),
    ("memcmp", "axp_find_nonzero_user"),
    ("touch_read", "axp_probe_read"),
    ("touch_write", "axp_probe_write"),
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The C side, linked against the installed library."""
    if shutil.which(COMPILER) is None:
        pytest.skip(f"there is no C compiler {COMPILER!r}")
    library = next(Path(axptr_native.__file__).parent.glob("libaxptr_native.*"))
    built = tmp_path_factory.mktemp("compiled") / "guarded_calls.so"
    subprocess.run(
        [
            *(COMPILER, "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-shared", "-fPIC"),
            *(f"-I{HERE.parent / 'native'}", "-o", built, HERE / "guarded_calls.c"),
            *(library, f"-Wl,-rpath,{library.parent}"),
        ],
        check=True,
    )
    return ctypes.CDLL(str(built))


@pytest.fixture(scope="module")
def memory() -> Memory:
    """What is accessed."""
    return Memory()


def in_c(compiled: ctypes.CDLL, name: str, user: int, own: int, size: int) -> Batch:
    """Return a batch of a TIMED statement of the C file."""
    function = compiled[f"time_{name}"]
    function.restype, function.argtypes = c_uint64, (c_uint64, c_void_p, c_void_p, c_size_t)

    def batch(count: int) -> float:
        return NANOSECOND * int(function(count, user, own, size))

    return batch


@pytest.mark.parametrize(("plain", "guarded"), [("plain_load", "axp_load"), ("plain_store", "axp_store")])
def test_word(compare: Compare, bars: Bars, compiled: ctypes.CDLL, memory: Memory, plain: str, guarded: str) -> None:
    """A word, guarded, against a function that does nothing else."""
    names = (plain, guarded)
    samples = compare(
        f"C: {guarded}", {name: in_c(compiled, name, memory.user, memory.own, 8) for name in names}, size=8
    )
    bars.seconds(f"C: the guard adds to {guarded} of 8 B", samples.added(guarded, plain), GUARD_MAY_ADD)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("plain", "guarded"), OPERATIONS)
def test_span(
    compare: Compare, bars: Bars, compiled: ctypes.CDLL, memory: Memory, plain: str, guarded: str, size: int
) -> None:
    """A span, guarded, against libc."""
    memory.fill(memory.user, 0 if plain == "memcmp" else ord("a"), size)
    names = (plain, guarded)
    samples = compare(
        f"C: {guarded}", {name: in_c(compiled, name, memory.user, memory.own, size) for name in names}, size=size
    )
    if size <= SMALL:
        bars.seconds(f"C: the guard adds to {guarded} of {size} B", samples.added(guarded, plain), GUARD_MAY_ADD)


@pytest.mark.parametrize("size", SIZES)
def test_overlap(compare: Compare, compiled: ctypes.CDLL, memory: Memory, size: int) -> None:
    """A copy to 8 bytes above its source, which must be known to succeed before it starts."""
    names = ("memmove_up", "axp_copy_in_user_up")
    alternatives = {name: in_c(compiled, name, memory.user, memory.own, size) for name in names}
    compare("C: axp_copy_in_user, overlapping", alternatives, size=size)


def test_fault(compare: Compare, compiled: ctypes.CDLL, memory: Memory) -> None:
    """A fault, from the call to the fault record."""
    edge = compiled["map_edge"]
    edge.restype = c_void_p
    compare(
        "C: fault to fault record",
        {
            "axp_load": in_c(compiled, "fault_axp_load", NOT_MAPPED, memory.own, 8),
            "axp_probe_read": in_c(compiled, "fault_axp_probe_read", NOT_MAPPED, memory.own, 8),
            "axp_copy_from_user": in_c(compiled, "fault_axp_copy_from_user", NOT_MAPPED, memory.own, 64),
            "axp_copy_to_user": in_c(compiled, "fault_axp_copy_to_user", NOT_MAPPED, memory.own, 64),
            "axp_copy_from_user, halfway": in_c(compiled, "fault_axp_copy_from_user", edge() - 32, memory.own, 64),
            "axp_copy_to_user, halfway": in_c(compiled, "fault_axp_copy_to_user", edge() - 32, memory.own, 64),
        },
    )
