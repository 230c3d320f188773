# SPDX-License-Identifier: MIT
"""What a guarded read costs in Python, against reads that may crash, and against asking the system."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_uint64
from typing import TYPE_CHECKING, Any

import pytest
from interleave import python
from memory import SIZES
from plots import READS
from units import in_bytes

from axptr_native import uaccess

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from interleave import Samples
    from memory import Memory
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "Reads"


def small_read(bars: Bars, operation: str, samples: Samples, name: str) -> None:
    """Note what is promised of a read that is hardly more than a call."""
    bars.ratio(operation, samples, name, to="floor extension", at_most=1.5)
    bars.faster(operation, samples, name, than="ctypes.string_at", at_least=4)
    bars.faster(operation, samples, name, than="process_vm_readv", at_least=30)
    bars.faster(operation, samples, name, than="PyMemoryEditor", at_least=100)


def test_word(compare: Compare, bars: Bars, memory: Memory, rivals: Rivals) -> None:
    """A word of 8 bytes."""
    names: dict[str, Any] = {"addr": memory.user, "c_uint64": c_uint64}
    samples = compare(
        "A word of 8 bytes",
        {
            "get_user": python("get_user(addr, c_uint64)", get_user=uaccess.get_user, **names),
            "floor extension": rivals.floor("read_u64(addr)", **names),
            "floor extension, by size_t": rivals.lower_floor("read_u64(addr)", **names),
            "c_uint64.from_address().value": python("c_uint64.from_address(addr).value", **names),
            "ctypes.cast()[0]": python("cast(addr, words)[0]", cast=ctypes.cast, words=POINTER(c_uint64), **names),
            "ctypes.string_at": python("string_at(addr, 8)", string_at=ctypes.string_at, **names),
            "cffi: cast()[0]": rivals.cffi("cast(words, addr)[0]", **names),
            "process_vm_readv": rivals.process_vm_readv(memory.user, memory.own, 8),
            "os.pread of /proc/self/mem": rivals.memory_file("pread(file, 8, addr)", **names),
            "PyMemoryEditor": rivals.editor("read(addr, int, 8)", **names),
        },
        seconds=1,
    )
    small_read(bars, "get_user(addr, c_uint64)", samples, "get_user")


@pytest.mark.parametrize("size", SIZES)
def test_bytes(compare: Compare, bars: Bars, memory: Memory, rivals: Rivals, size: int) -> None:
    """Bytes from an address, as an object."""
    names: dict[str, Any] = {"addr": memory.user, "size": size}
    samples = compare(
        READS,
        {
            "copy_from_user": python("copy_from_user(addr, size)", copy_from_user=uaccess.copy_from_user, **names),
            "floor extension": rivals.floor("copy(addr, size)", **names),
            "floor extension, by size_t": rivals.lower_floor("copy(addr, size)", **names),
            "ctypes.string_at": python("string_at(addr, size)", string_at=ctypes.string_at, **names),
            "cffi: unpack": rivals.cffi("unpack(cast(chars, addr), size)", **names),
            "cffi: buffer()[:]": rivals.cffi("buffer(cast(chars, addr), size)[:]", **names),
            "process_vm_readv": rivals.process_vm_readv(memory.user, memory.own, size),
            "os.pread of /proc/self/mem": rivals.memory_file("pread(file, size, addr)", **names),
            "PyMemoryEditor": rivals.editor("read(addr, bytes, size)", **names),
        },
        column=in_bytes(size),
        seconds=1,
    )
    operation = f"copy_from_user of {in_bytes(size)}"
    if size == 64:
        small_read(bars, operation, samples, "copy_from_user")
    elif size == 1 << 12:
        bars.ratio(operation, samples, "copy_from_user", to="floor extension", at_most=1.3)
        bars.faster(operation, samples, "copy_from_user", than="ctypes.string_at", at_least=2.5)
    elif size == 1 << 26:
        bars.faster(operation, samples, "copy_from_user", than="ctypes.string_at", at_least=3)


@pytest.mark.parametrize("size", SIZES)
def test_into(compare: Compare, bars: Bars, memory: Memory, rivals: Rivals, size: int) -> None:
    """Bytes from an address into a buffer that is there already."""
    buffer = memory.own_buffer(size)
    names: dict[str, Any] = {"addr": memory.user, "size": size, "buffer": buffer, "into": memory.own}
    samples = compare(
        "Bytes into a buffer that has been used before",
        {
            "copy_from_user_into": python("copy(addr, buffer)", copy=uaccess.copy_from_user_into, **names),
            "floor extension": rivals.floor("copy_into(addr, buffer)", **names),
            "memcpy, in C": rivals.in_c("memcpy_from", memory.user, memory.own, size),
            "ctypes.memmove": python("memmove(into, addr, size)", memmove=ctypes.memmove, **names),
            "process_vm_readv": rivals.process_vm_readv(memory.user, memory.own, size),
            "os.preadv of /proc/self/mem": rivals.memory_file("preadv(file, buffers, addr)", buffers=[buffer], **names),
        },
        column=in_bytes(size),
        seconds=0.8,
    )
    if size == 1 << 26:
        operation = f"copy_from_user_into of {in_bytes(size)}"
        bars.ratio(operation, samples, "copy_from_user_into", to="memcpy, in C", at_most=1.1)
