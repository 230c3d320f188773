# SPDX-License-Identifier: MIT
"""A process that has used up its mappings, or its address space: only for a child, where nobody else needs any."""

import ctypes
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers_memory import READ
from helpers_python import let_go
from helpers_space import NONE, RW, at, uncollected

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags
from axptr_native._memory import map_memory, protect_memory, unmap_memory
from axptr_native._native import MAP_SHARED, fault_error, lib

MOST = int(Path("/proc/sys/vm/max_map_count").read_text(encoding="ascii"))
"""Mappings up to which one may be split.  mmap goes one further."""
needs_a_limit = [
    pytest.mark.skipif(MOST > 100_000, reason=f"{MOST} mappings take too long to use up"),
    pytest.mark.skipif(
        "asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer's malloc needs mappings of its own"
    ),
]
"""For the tests of a file that goes to that limit."""
ROOMS = (-1, 0, 1, 2, 3)
"""Mappings that are left; -1: mmap fails too."""
STEADY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "PYPY_DISABLE_JIT": "1",
    "PYTHONMALLOC": "malloc",
}
"""The environment of a child whose own memory is one mapping, which only grows."""
_NEAR = 256
_SINGLES = 8


class Pressure:
    """Takes mappings, and gives them back.

    To protect a page among its like takes two.  To protect one that has another mapping beside it, a single, takes one.
    """

    def __init__(self) -> None:
        self._start = self._next = map_memory((MOST + 4 * _NEAR) * PAGE_SIZE, NONE)
        for number in range(_SINGLES):
            protect_memory(self._single(number) - PAGE_SIZE, PAGE_SIZE, RW)
            self._next = self._single(number) + 3 * PAGE_SIZE
        bytes(32 << 20)  # made and let go: malloc keeps it, where the system gives it no more
        let_go()
        for _ in range((MOST - _NEAR - mappings()) // 2):
            self._take_two()
        self._standing = self._next

    @contextmanager
    def leaving(self, room: int) -> Iterator[None]:
        """Leave just so many mappings for the time of a block."""
        with uncollected():
            self._take_all_but(max(room, 0))
            # Shared: the system never joins it with a neighbour.
            extra = map_memory(PAGE_SIZE, READ, options=MAP_SHARED) if room < 0 else None
            try:
                yield
            finally:
                if extra is not None:
                    unmap_memory(extra, PAGE_SIZE)
                self._give_back(self._standing, self._next - self._standing)
                self._next = self._standing
                for number in range(_SINGLES):
                    self._give_back(self._single(number), PAGE_SIZE)

    def _take_all_but(self, room: int) -> None:
        taken = _SINGLES // 2
        for number in range(taken):
            assert self._take(self._single(number)), "the process needs more mappings than the distance to the limit"
        while self._take_two():
            pass
        while self._take(self._single(taken)):
            taken += 1
        for number in range(room):
            self._give_back(self._single(number), PAGE_SIZE)

    def _single(self, number: int) -> int:
        return self._start + (4 * number + 1) * PAGE_SIZE

    def _take_two(self) -> bool:
        self._next += 2 * PAGE_SIZE
        return self._take(self._next - PAGE_SIZE)

    @staticmethod
    def _take(page: int) -> bool:
        status = lib.axp_protect(page, PAGE_SIZE, READ)
        assert status in (0, -errno.ENOMEM), status
        return bool(status == 0)

    @staticmethod
    def _give_back(start: int, size: int) -> None:
        protect_memory(start, size, NONE)


def mappings() -> int:
    """Return how many mappings this process has."""
    with Path("/proc/self/maps").open("rb") as file:
        return sum(b"[vsyscall]" not in line for line in file)


def hardware(space: AddrSpace) -> list[tuple[MappingFlags, bytes]]:
    """Return what each page allows and holds, without asking a pager."""
    return [_page(at(space, number)) for number in range(space.size // PAGE_SIZE)]


def _page(address: int) -> tuple[MappingFlags, bytes]:
    buffer = ctypes.create_string_buffer(PAGE_SIZE)
    if lib.axp_raw_copy_from_user(buffer, address, PAGE_SIZE):
        fault_error()
        return NONE, b""
    writable = ctypes.c_void_p()
    lib.axp_probe_write(address, 1, writable)
    return (RW if writable.value else READ), bytes(buffer.raw)


@contextmanager
def limited(room: int) -> Iterator[None]:
    """Leave so many bytes of address space for the time of a block."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * PAGE_SIZE
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
