# SPDX-License-Identifier: MIT
"""Widths of words and of strings' elements in the C ABI, and their products that overflow."""

import ctypes
import errno
from collections.abc import Callable
from typing import Any

import pytest
from helpers_memory import END

from axptr_native import FaultReason
from axptr_native._native import Fault, lib

pytestmark = pytest.mark.usefixtures("no_records_left_over")


def test_wrong_widths_are_einval_and_no_fault() -> None:
    """Word operations of a width that is none touch nothing, and leave no record."""
    spare = ctypes.create_string_buffer(32)
    own = ctypes.addressof(spare)
    calls: list[Callable[[int], Any]] = [
        lambda width: lib.axp_load(1, width, own),
        lambda width: lib.axp_store(1, width, own),
        lambda width: lib.axp_atomic_load(1, width, own),
        lambda width: lib.axp_atomic_store(1, width, own),
        lambda width: lib.axp_atomic_exchange(1, width, own, own),
        lambda width: lib.axp_atomic_compare_exchange(1, width, own, own, own),
        lambda width: lib.axp_atomic_fetch_add(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_and(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_or(1, width, own, own),
        lambda width: lib.axp_atomic_fetch_xor(1, width, own, own),
        lambda width: lib.axp_strnlen_user(1, width, 5, ctypes.c_void_p()),
    ]
    for number, call in enumerate(calls):
        for width in (0, 3, 5, 6, 7, 9, 16, END // 2 + 1, END // 2, END - 1):
            assert call(width) == -errno.EINVAL, (number, width)
    assert bytes(spare) == bytes(32)


def test_wide_strings_whose_size_overflows_are_refused() -> None:
    """A product of limit and width beyond the address space is OUT_OF_RANGE and does not wrap onto the good start."""
    words = (ctypes.c_uint64 * 4)(1, 2, 0, 3)
    count, half = ctypes.c_void_p(99), END // 2
    for width, limit in (
        (2, half),
        (2, half + 1),
        (4, half // 2 + 1),
        (8, half // 4),
        (8, half // 4 + 2),
        (8, END - 1),
    ):
        assert lib.axp_strnlen_user(ctypes.addressof(words), width, limit, count) == -errno.EFAULT, (width, limit)
        fault = Fault()
        assert lib.axp_take_fault(fault) == 0
        assert (fault.reason, fault.signal) == (FaultReason.OUT_OF_RANGE.value, 0), (width, limit)
    assert count.value == 99
    assert lib.axp_strnlen_user(ctypes.addressof(words), 8, 4, count) == 0
    assert count.value == 2
