# SPDX-License-Identifier: MIT
"""What a guarded access costs in Python, against ctypes, which may crash, and against asking the system."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from ctypes import POINTER, Structure, byref, c_int, c_size_t, c_ssize_t, c_uint64, c_ulong, c_void_p
from typing import TYPE_CHECKING, Any

import pytest
from interleave import Batch, python
from memory import NOT_MAPPED, SIZES, Memory

from axptr_native import FaultError, uaccess

if TYPE_CHECKING:
    from comparing import Bars, Compare

pytest_plugins = ("comparing",)

linux = pytest.mark.skipif(sys.platform != "linux", reason="process_vm_readv and /proc/self/mem are Linux's")

MAY_TAKE_OF_STRING_AT = 1.5
MAY_TAKE_OF_PROCESS_VM = 0.25


@pytest.fixture(scope="module")
def memory() -> Memory:
    """What is accessed."""
    return Memory()


@pytest.fixture(scope="module")
def own_memory_file() -> Iterator[int]:
    """A descriptor of this process's memory."""
    descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


class Iovec(Structure):
    """``struct iovec``."""

    _fields_ = (("base", c_void_p), ("size", c_size_t))


def process_vm_readv(user: int, own: int, size: int) -> Batch:
    """Return a batch of the bare call, at its best: nothing is prepared for it and no bytes object is made."""
    function = ctypes.CDLL(None, use_errno=True)["process_vm_readv"]
    function.restype = c_ssize_t
    function.argtypes = (c_int, POINTER(Iovec), c_ulong, POINTER(Iovec), c_ulong, c_ulong)
    into, of = Iovec(own, size), Iovec(user, size)
    return python("readv(pid, into, 1, of, 1, 0)", readv=function, pid=os.getpid(), into=byref(into), of=byref(of))


@linux
@pytest.mark.parametrize("size", SIZES)
def test_read(compare: Compare, bars: Bars, memory: Memory, own_memory_file: int, size: int) -> None:
    """Bytes from an address."""
    names: dict[str, Any] = {"addr": memory.user, "size": size}
    samples = compare(
        "Python: read into bytes",
        {
            "ctypes.string_at": python("string_at(addr, size)", string_at=ctypes.string_at, **names),
            "copy_from_user": python("copy_from_user(addr, size)", copy_from_user=uaccess.copy_from_user, **names),
            "process_vm_readv": process_vm_readv(memory.user, memory.own, size),
            "os.pread of /proc/self/mem": python(
                "pread(file, size, addr)", pread=os.pread, file=own_memory_file, **names
            ),
        },
        size=size,
        seconds=0.8,
    )
    if size <= 64:
        promise = f"Python: copy_from_user of {size} B takes, of"
        bars.ratio(f"{promise} string_at", samples.ratio("copy_from_user", "ctypes.string_at"), MAY_TAKE_OF_STRING_AT)
        bars.ratio(
            f"{promise} process_vm_readv", samples.ratio("copy_from_user", "process_vm_readv"), MAY_TAKE_OF_PROCESS_VM
        )


@linux
@pytest.mark.parametrize("size", SIZES)
def test_read_into(compare: Compare, memory: Memory, own_memory_file: int, size: int) -> None:
    """Bytes from an address into a buffer that is there already."""
    buffer = bytearray(size)
    into = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    names: dict[str, Any] = {"addr": memory.user, "size": size, "buffer": buffer, "into": into}
    compare(
        "Python: read into a buffer",
        {
            "ctypes.memmove": python("memmove(into, addr, size)", memmove=ctypes.memmove, **names),
            "copy_from_user_into": python("copy(addr, buffer)", copy=uaccess.copy_from_user_into, **names),
            "process_vm_readv": process_vm_readv(memory.user, into, size),
            "os.preadv of /proc/self/mem": python(
                "preadv(file, buffers, addr)", preadv=os.preadv, file=own_memory_file, buffers=[buffer], **names
            ),
        },
        size=size,
        seconds=0.6,
    )


@pytest.mark.parametrize("size", SIZES)
def test_write(compare: Compare, memory: Memory, size: int) -> None:
    """Bytes to an address."""
    names: dict[str, Any] = {"addr": memory.user, "size": size, "data": bytes(size)}
    compare(
        "Python: write bytes",
        {
            "ctypes.memmove": python("memmove(addr, data, size)", memmove=ctypes.memmove, **names),
            "copy_to_user": python("copy_to_user(addr, data)", copy_to_user=uaccess.copy_to_user, **names),
        },
        size=size,
    )


def test_word(compare: Compare, memory: Memory) -> None:
    """A word of 8 bytes."""
    names: dict[str, Any] = {"addr": memory.user, "c_uint64": c_uint64}
    compare(
        "Python: a word",
        {
            "from_address().value": python("c_uint64.from_address(addr).value", **names),
            "get_user": python("get_user(addr, c_uint64)", get_user=uaccess.get_user, **names),
            "from_address().value = 5": python("c_uint64.from_address(addr).value = 5", **names),
            "put_user": python("put_user(addr, c_uint64, 5)", put_user=uaccess.put_user, **names),
        },
        size=8,
    )


@pytest.mark.parametrize("size", SIZES[:-1])
def test_string(compare: Compare, memory: Memory, size: int) -> None:
    """A string of unknown length, its terminator included in the size."""
    memory.fill(memory.user, ord("a"), size - 1)
    memory.fill(memory.user + size - 1, 0, 1)
    names: dict[str, Any] = {"addr": memory.user, "limit": size}
    compare(
        "Python: read a string",
        {
            "ctypes.string_at": python("string_at(addr)", string_at=ctypes.string_at, **names),
            "strncpy_from_user": python("strncpy(addr, limit)", strncpy=uaccess.strncpy_from_user, **names),
        },
        size=size,
    )


@linux
def test_fault(compare: Compare, memory: Memory, own_memory_file: int) -> None:
    """A fault, from the call to the exception caught."""
    names: dict[str, Any] = {"addr": NOT_MAPPED, "FaultError": FaultError, "c_uint64": c_uint64}
    compare(
        "Python: fault to exception",
        {
            "copy_from_user": python(
                "try: copy_from_user(addr, 8)\nexcept FaultError: pass", copy_from_user=uaccess.copy_from_user, **names
            ),
            "copy_from_user(partial=True)": python(
                "copy_from_user(addr, 8, partial=True)", copy_from_user=uaccess.copy_from_user, **names
            ),
            "get_user": python(
                "try: get_user(addr, c_uint64)\nexcept FaultError: pass", get_user=uaccess.get_user, **names
            ),
            "probe_read": python("probe_read(addr, 8)", probe_read=uaccess.probe_read, **names),
            "process_vm_readv, its result": process_vm_readv(NOT_MAPPED, memory.own, 8),
            "os.pread of /proc/self/mem": python(
                "try: pread(file, 8, addr)\nexcept OSError: pass", pread=os.pread, file=own_memory_file, **names
            ),
        },
        seconds=0.8,
    )
