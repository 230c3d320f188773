# SPDX-License-Identifier: MIT
"""What a guarded write, an atomic and a probe cost in Python, against what may crash."""

from __future__ import annotations

import ctypes
from ctypes import c_uint64
from typing import TYPE_CHECKING, Any

import pytest
from interleave import python
from memory import SIZES
from units import in_bytes

from axptr_native import PAGE_SIZE, atomics, uaccess

if TYPE_CHECKING:
    from comparing import Compare
    from memory import Memory
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "Writes"


def test_word(compare: Compare, memory: Memory, rivals: Rivals) -> None:
    """A word of 8 bytes."""
    names: dict[str, Any] = {"addr": memory.user, "c_uint64": c_uint64}
    compare(
        "A word of 8 bytes",
        {
            "put_user": python("put_user(addr, c_uint64, 5)", put_user=uaccess.put_user, **names),
            "c_uint64.from_address().value = 5": python("c_uint64.from_address(addr).value = 5", **names),
            "cffi: cast()[0] = 5": rivals.cffi("cast(words, addr)[0] = 5", **names),
        },
    )


@pytest.mark.parametrize("size", SIZES)
def test_bytes(compare: Compare, memory: Memory, rivals: Rivals, size: int) -> None:
    """Bytes to an address."""
    names: dict[str, Any] = {"addr": memory.user, "size": size, "data": bytes(size)}
    compare(
        "Bytes",
        {
            "copy_to_user": python("copy_to_user(addr, data)", copy_to_user=uaccess.copy_to_user, **names),
            "ctypes.memmove": python("memmove(addr, data, size)", memmove=ctypes.memmove, **names),
            "memcpy, in C": rivals.in_c("memcpy_to", memory.user, memory.own, size),
        },
        column=in_bytes(size),
    )


def test_atomics(compare: Compare, memory: Memory) -> None:
    """A word of 8 bytes, sequentially consistent."""
    names: dict[str, Any] = {"addr": memory.user, "c_uint64": c_uint64}
    memory.fill(memory.user, 0, 8)
    compare(
        "Atomics, on a word of 8 bytes",
        {
            "fetch_add": python("fetch_add(addr, c_uint64, 1)", fetch_add=atomics.fetch_add, **names),
            "load": python("load(addr, c_uint64)", load=atomics.load, **names),
            "store": python("store(addr, c_uint64, 5)", store=atomics.store, **names),
            "exchange": python("exchange(addr, c_uint64, 5)", exchange=atomics.exchange, **names),
            "compare_exchange": python("exchange(addr, c_uint64, 5, 5)", exchange=atomics.compare_exchange, **names),
            "from_address().value += 1, which is none": python("c_uint64.from_address(addr).value += 1", **names),
        },
    )


@pytest.mark.parametrize("size", [8, 1 << 12, 1 << 16, 1 << 20])
def test_probe(compare: Compare, memory: Memory, rivals: Rivals, size: int) -> None:
    """How much can be accessed, which touches a byte a page."""
    names: dict[str, Any] = {"addr": memory.user, "size": size}
    pages = range(memory.user, memory.user + size, PAGE_SIZE)
    compare(
        "Probes",
        {
            "probe_read": python("probe_read(addr, size)", probe_read=uaccess.probe_read, **names),
            "probe_write": python("probe_write(addr, size)", probe_write=uaccess.probe_write, **names),
            "a load from each page, in C": rivals.in_c("touch_read", memory.user, memory.own, size),
            "process_vm_readv of a byte a page": rivals.process_vm_readv_each(pages, 1, memory.own),
            "os.pread of a byte a page": rivals.memory_file(
                "for page in pages: pread(file, 1, page)", pages=pages, **names
            ),
        },
        column=in_bytes(size),
    )
