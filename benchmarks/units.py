# SPDX-License-Identifier: MIT
"""Numbers as a person reads them."""

from __future__ import annotations


def in_seconds(seconds: float) -> str:
    """Return a time."""
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if abs(seconds) * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def in_bytes(size: int) -> str:
    """Return a size that is a power of 2, or less than 1024."""
    for unit in ("B", "KiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} MiB"


def times(ratio: float) -> str:
    """Return how many times as much."""
    if ratio < 0.995:
        return f"{ratio:#.2g} x"
    return f"{ratio:.2f} x" if ratio < 9.995 else f"{ratio:.1f} x" if ratio < 99.95 else f"{ratio:.0f} x"
