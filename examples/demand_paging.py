# SPDX-License-Identifier: MIT
"""A compressed file as memory: pages are decompressed when they are touched, and compressed again to make room.

This is what a kernel does with compressed swap.  No more than a few pages are in memory at a time; a page that was
written to goes back to the file when it has to leave.
"""

from __future__ import annotations

import ctypes
import tempfile
import zlib
from collections import deque
from pathlib import Path

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags, UserConstPtr, UserPtr, VirtAddr

PAGES = 64
FRAMES = 8


class CompressedFile:
    """Pages in a file, each compressed by itself.  A page that has changed is appended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where: dict[int, tuple[int, int]] = {}
        path.touch()

    def store(self, number: int, page: bytes) -> None:
        """Append a page; what it was before is forgotten."""
        packed = zlib.compress(page)
        with self.path.open("ab") as file:
            self.where[number] = file.tell(), len(packed)
            file.write(packed)

    def load(self, number: int) -> bytes:
        """Return a page."""
        offset, size = self.where[number]
        with self.path.open("rb") as file:
            file.seek(offset)
            return zlib.decompress(file.read(size))


class PagedFile:
    """A compressed file in an address space, with room for a few pages at a time."""

    def __init__(self, file: CompressedFile) -> None:
        self.file = file
        self.frames: deque[VirtAddr] = deque()
        self.most = 0
        self.space = AddrSpace(len(file.where) * PAGE_SIZE)
        self.space.map_pager(
            self.space.base,
            self.space.size,
            MappingFlags.READ | MappingFlags.WRITE,
            self.page_in,
            write_back=self.page_out,
        )

    def number(self, page: VirtAddr) -> int:
        """Return which page of the file belongs to an address."""
        return (page - self.space.base) // PAGE_SIZE

    def page_in(self, page: VirtAddr, access: MappingFlags) -> bytes:
        """Fill a page that is touched; the oldest one has to go first if there is no room."""
        del access  # a page is filled in the same way for reading and for writing
        if len(self.frames) == FRAMES:
            self.space.evict(self.frames.popleft(), PAGE_SIZE)
        content = self.file.load(self.number(page))
        self.frames.append(page)
        self.most = max(self.most, len(self.frames))
        return content

    def page_out(self, page: VirtAddr, content: bytes) -> None:
        """Keep a page that was written to."""
        self.file.store(self.number(page), content)
        print(f"  page {self.number(page)} was written to: compressed again")


def main() -> None:
    """Write a compressed file, then use it as if it were memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = CompressedFile(Path(folder) / "pages.z")
        for number in range(PAGES):
            line = f"this is line number {number:4} of its page.\n".encode()
            file.store(number, (line * PAGE_SIZE)[:PAGE_SIZE])
        print(f"{PAGES} pages in {file.path.stat().st_size:,} bytes of file; at most {FRAMES} pages in memory")

        paged = PagedFile(file)
        with paged.space as space:
            print(f"mapped: {space.paging}")

            # Across two pages, neither of which is there.
            edge = UserConstPtr[ctypes.c_char](space.base + 41 * PAGE_SIZE - 20)
            print(f"around page 41: {edge.get_as_slice(space, 40).tobytes()!r}")

            print("three pages are written to:")
            for number in 3, 30, 60:
                UserPtr[ctypes.c_uint64](space.base + number * PAGE_SIZE).get(space).value = 0x2121212121212121

            whole = space.read(space.base, space.size)
            print(f"everything was read: {len(whole):,} bytes, {whole.count(b'line number')} lines")
            print(f"never more than {paged.most} pages at a time: {space.paging}")
            space.evict(space.base, space.size)

        print(f"from the file, page 30 begins with {file.load(30)[:24]!r}")


if __name__ == "__main__":
    main()
