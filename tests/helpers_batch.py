# SPDX-License-Identifier: MIT
"""Addresses for batches: of good memory that is known, and of none."""

import array
from collections.abc import Iterable

from helpers_memory import END

from axptr_native import PAGE_SIZE

GOOD_PAGES = 4
GOOD_SIZE = GOOD_PAGES * PAGE_SIZE

NOWHERE = {
    "null": 0,
    "not canonical": 1 << 62,
    "kernel's": 0xFFFF_8000_0000_0000,
    "last page": END - 4096,
    "last byte": END - 1,
    "negative": -1,
    "very negative": -END,
    "too large": END,
    "far too large": 10**400,
}
"""Numbers at which there is no memory, whoever asks."""


def words(addresses: Iterable[int]) -> "array.array[int]":
    """Return addresses as most callers have them."""
    return array.array("Q", addresses)
