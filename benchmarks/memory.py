# SPDX-License-Identifier: MIT
"""The memory that the benchmarks access: long enough, brought in, and at an address that is not special."""

from __future__ import annotations

import ctypes
import mmap

SIZES = (8, 64, 1 << 12, 1 << 16, 1 << 20, 1 << 26)
"""Of an access, in bytes."""

NOT_MAPPED = 8
"""An address in the page at 0, which no process has."""

# Off the start of its page, as most data is.  Not by the same number of bytes on both sides: loads that follow
# stores to the same offset in a page are held up, which is not what is to be measured.
_USER_OFFSET, _OWN_OFFSET = 64, 2112


class Memory:
    """Two spans of a size: ``user`` and ``own`` are their addresses."""

    def __init__(self, size: int = SIZES[-1]) -> None:
        self._spans = [mmap.mmap(-1, size + mmap.PAGESIZE) for _ in range(2)]
        self.user, self.own = (
            ctypes.addressof(ctypes.c_char.from_buffer(span)) + offset
            for span, offset in zip(self._spans, (_USER_OFFSET, _OWN_OFFSET), strict=True)
        )
        for address in (self.user, self.own):
            self.fill(address, ord("a"), size)

    def fill(self, address: int, byte: int, size: int) -> None:
        """Set the bytes."""
        ctypes.memset(address, byte, size)

    def own_buffer(self, size: int) -> memoryview:
        """Return bytes at ``own`` as a buffer."""
        return memoryview(self._spans[1])[_OWN_OFFSET : _OWN_OFFSET + size]
