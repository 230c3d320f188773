# SPDX-License-Identifier: MIT
"""A pytest plugin: what the library is measured against, each at its best, or the reason why it cannot be had."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from ctypes import Structure, addressof, c_int, c_size_t, c_ssize_t, c_void_p, sizeof
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from compiled import compile_calls, compile_floor, in_c
from interleave import Batch, Unavailable, python
from memory import Memory

IOVECS_A_CALL = os.sysconf("SC_IOV_MAX")
PROCESS = os.getpid()


class Iovec(Structure):
    """``struct iovec``."""

    _fields_ = (("base", c_void_p), ("size", c_size_t))


class Rivals:
    """Batches of what does the same as the library, each of them possibly Unavailable."""

    def __init__(self, memory: Memory, folder: Path, opened: contextlib.ExitStack) -> None:
        self.calls = compile_calls(folder)
        self._floor = compile_floor(folder / "floor")
        self._lower_floor = compile_floor(folder / "lower_floor", "-DADDRESS_FROM=PyLong_AsSize_t")
        self._readv = _bind_readv(memory)
        self._memory_file = _open_memory_file(opened)
        self._editor = _attach_editor(memory, opened)
        self._ffi = _make_ffi()

    def floor(self, statement: str, **names: object) -> Batch | Unavailable:
        """Return a batch of a statement that sees the functions of the floor extension."""
        return _python_in(self._floor, statement, names)

    def lower_floor(self, statement: str, **names: object) -> Batch | Unavailable:
        """Return the same of one that converts an address as fast as the library does."""
        return _python_in(self._lower_floor, statement, names)

    def cffi(self, statement: str, **names: object) -> Batch | Unavailable:
        """Return a batch of a statement that sees functions of cffi, and pointer types as ``chars`` and ``words``."""
        return _python_in(self._ffi, statement, names)

    def editor(self, statement: str, **names: object) -> Batch | Unavailable:
        """Return a batch of a statement that sees ``read`` of PyMemoryEditor, which is attached to this process."""
        return _python_in(self._editor, statement, names)

    def memory_file(self, statement: str, **names: object) -> Batch | Unavailable:
        """Return a batch of a statement that sees /proc/self/mem, open, as ``file``; ``pread`` and ``preadv``."""
        return _python_in(self._memory_file, statement, names)

    def in_c(self, name: str, user: int, own: int, size: int) -> Batch | Unavailable:
        """Return a batch of a TIMED statement."""
        return in_c(self.calls, name, user, own, size)

    def process_vm_readv(self, user: int, own: int, size: int) -> Batch | Unavailable:
        """Return a batch of the bare call: it finds its iovecs, and makes no object of what it reads."""
        iovecs = (Iovec * 2)(Iovec(own, size), Iovec(user, size))
        names = {"pid": PROCESS, "into": addressof(iovecs), "of": addressof(iovecs) + sizeof(Iovec), "kept": iovecs}
        return _python_in(self._readv, "readv(pid, into, 1, of, 1, 0)", names)

    def process_vm_readv_each(self, addresses: Sequence[int], size: int, own: int) -> Batch | Unavailable:
        """Return a batch of the calls that read ``size`` bytes from each address but the bad ones, iovecs prepared."""
        count = len(addresses)
        of = (Iovec * count)(*(Iovec(address, size) for address in addresses))
        into = (Iovec * count)(*(Iovec(own + size * place, size) for place in range(count)))

        def read_each(readv: Any) -> None:
            place, limit = 0, IOVECS_A_CALL
            while place < count:
                asked, offset = min(limit, count - place), place * sizeof(Iovec)
                read = max(readv(PROCESS, addressof(into) + offset, asked, addressof(of) + offset, asked, 0), 0) // size
                place += read if read == asked else read + 1
                # A call takes all of its iovecs in before it finds a bad one.
                limit = min(2 * read + 8, IOVECS_A_CALL)

        return _python_in(self._readv, "read_each(readv)", {"read_each": read_each})


@pytest.fixture(scope="session")
def memory() -> Memory:
    """What is accessed."""
    return Memory()


@pytest.fixture(scope="session")
def rivals(tmp_path_factory: pytest.TempPathFactory, memory: Memory) -> Iterator[Rivals]:
    """What there is to be measured against."""
    with contextlib.ExitStack() as opened:
        yield Rivals(memory, tmp_path_factory.mktemp("compiled"), opened)


Namespace = dict[str, Any]
"""What a statement sees."""


def _python_in(namespace: Namespace | Unavailable, statement: str, names: Mapping[str, object]) -> Batch | Unavailable:
    if isinstance(namespace, Unavailable):
        return namespace
    return python(statement, **namespace, **names)


def _bind_readv(memory: Memory) -> Namespace | Unavailable:
    try:
        readv = ctypes.PyDLL(None, use_errno=True)["process_vm_readv"]
    except AttributeError:
        return Unavailable("this system does not have it")
    # Integers pass as c_void_p much faster than as c_ulong.
    readv.restype, readv.argtypes = c_ssize_t, (c_int, *(c_void_p,) * 5)
    iovecs = (Iovec * 2)(Iovec(memory.own, 8), Iovec(memory.user, 8))
    if readv(PROCESS, addressof(iovecs), 1, addressof(iovecs) + sizeof(Iovec), 1, 0) != 8:
        return Unavailable(f"the kernel refuses it: {os.strerror(ctypes.get_errno())}")
    return {"readv": readv}


def _open_memory_file(opened: contextlib.ExitStack) -> Namespace | Unavailable:
    try:
        descriptor = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError as error:
        return Unavailable(str(error))
    opened.callback(os.close, descriptor)
    return {"file": descriptor, "pread": os.pread, "preadv": os.preadv}


def _attach_editor(memory: Memory, opened: contextlib.ExitStack) -> Namespace | Unavailable:
    try:
        editor = opened.enter_context(import_module("PyMemoryEditor").OpenProcess(pid=PROCESS))
        editor.read_process_memory(memory.user, bytes, 8)
    except (ImportError, OSError) as error:
        return Unavailable(str(error))
    return {"read": editor.read_process_memory}


def _make_ffi() -> Namespace | Unavailable:
    try:
        ffi = import_module("cffi").FFI()
    except ImportError as error:
        return Unavailable(str(error))
    types = {"chars": ffi.typeof("char *"), "words": ffi.typeof("uint64_t *")}
    return {"cast": ffi.cast, "unpack": ffi.unpack, "buffer": ffi.buffer, "string": ffi.string, **types}
