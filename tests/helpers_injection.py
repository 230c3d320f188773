# SPDX-License-Identifier: MIT
"""Accesses that succeed unless a fault is injected, as a string of "." and "x"."""

import ctypes

from axptr_native import FaultError, FaultReason, uaccess

GOOD = ctypes.create_string_buffer(64)
AT = ctypes.addressof(GOOD)


def access(size: int = 8) -> str:
    """Access good memory; return "." if that goes well and "x" if a fault was injected."""
    try:
        uaccess.copy_from_user(AT, size)
    except FaultError as error:
        return "x" if error.reason is FaultReason.INJECTED else "?"
    return "."


def accesses(count: int, size: int = 8) -> str:
    return "".join(access(size) for _ in range(count))


def expected_luck(seed: int, probability: float, count: int) -> str:
    """Return what splitmix64 makes of a seed: "x" where a number from 0 to 1 is below the probability."""
    mask = 2**64 - 1
    found = ""
    for i in range(1, count + 1):
        word = seed + i * 0x9E3779B97F4A7C15 & mask
        word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & mask
        word = (word ^ word >> 27) * 0x94D049BB133111EB & mask
        word ^= word >> 31
        found += "x" if (word >> 11) / 2**53 < probability else "."
    return found
