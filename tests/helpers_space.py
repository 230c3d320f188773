# SPDX-License-Identifier: MIT
"""Address spaces under test: what is in them, pagers that remember, and threads that report."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from helpers_memory import READ, WRITE, pattern
from helpers_python import let_go

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags, VirtAddr, uaccess

RW = READ | WRITE
NONE = MappingFlags(0)
PAGED = pattern(6 * PAGE_SIZE)
"""What the disk of the fixture holds: bytes that are not zero."""


def layout(space: AddrSpace) -> list[tuple[int, int, MappingFlags]]:
    """Return the areas as first page, number of pages and flags."""
    return [
        ((area.range.start - space.base) // PAGE_SIZE, area.range.size // PAGE_SIZE, area.flags)
        for area in space.areas()
    ]


def content(space: AddrSpace) -> dict[int, bytes]:
    """Return the bytes of the pages that can be read, by page."""
    pages = range(space.size // PAGE_SIZE)
    found = {page: uaccess.copy_from_user(at(space, page), PAGE_SIZE, partial=True) for page in pages}
    return {page: data for page, data in found.items() if data}


def at(space: AddrSpace, page: int) -> int:
    """Return the address of a page of a space."""
    return space.base + page * PAGE_SIZE


@contextmanager
def unchanged(space: AddrSpace) -> Iterator[None]:
    """Assert that areas and bytes are afterwards what they were before."""
    before = space.areas(), content(space)
    yield
    assert (space.areas(), content(space)) == before


@contextmanager
def spaced(pages: int = 8) -> Iterator[AddrSpace]:
    """Give a space of some pages."""
    with AddrSpace(pages * PAGE_SIZE) as space:
        yield space


@contextmanager
def uncollected() -> Iterator[None]:
    """Have the garbage collector wait for the end of a block.

    It would unmap the spaces and close the files that are garbage, of other tests too, while they are counted.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def no_file_left_open() -> Iterator[None]:
    """Assert that as many files are open afterwards as before."""
    with uncollected():
        let_go()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        yield
        let_go()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


class Disk:
    """A pager and a write-back over bytes, and what they were asked."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.start = 0
        self.asked: list[tuple[int, MappingFlags]] = []
        self.written: list[tuple[int, bytes]] = []

    def map(self, space: AddrSpace, flags: MappingFlags = RW, *, start: int | None = None) -> int:
        """Map it whole, with write-back, and return where."""
        size = len(self.data)
        self.start = space.map_pager(start, size, flags, self.page_in, write_back=self.page_out).start
        return self.start

    def page_in(self, page: VirtAddr, access: MappingFlags) -> bytes:
        """Be the pager."""
        offset = page - self.start
        self.asked.append((offset // PAGE_SIZE, access))
        return bytes(self.data[offset : offset + PAGE_SIZE])

    def page_out(self, page: VirtAddr, data: bytes) -> None:
        """Be the write-back."""
        offset = page - self.start
        self.written.append((offset // PAGE_SIZE, data))
        self.data[offset : offset + PAGE_SIZE] = data

    @property
    def pages_asked(self) -> list[int]:
        """The pages that were asked for, in order."""
        return [page for page, _ in self.asked]


def in_threads(*bodies: Callable[[], object]) -> None:
    """Run functions at the same time; raise the first exception that one of them ended with."""
    failures: list[BaseException] = []

    def guarded(body: Callable[[], object]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001, RUF100 - handed on
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "a thread hangs"
    if failures:
        raise failures[0]
