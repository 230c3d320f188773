# SPDX-License-Identifier: MIT
"""Sweeps: an access over the edge is found at its byte, and functions that make none pass."""

import pytest

from axptr_native import FaultError, uaccess
from axptr_native.testing import Region, SweepKind, sweep


def read(region: Region) -> bytes:
    """Return the data, as one should."""
    return uaccess.copy_from_user(region.address, region.size)


@pytest.mark.parametrize("kind", SweepKind, ids=str)
def test_a_function_that_keeps_to_its_data_passes(kind: SweepKind) -> None:
    """Each case has the bytes that it should have, and no error."""
    data = bytes(range(1, 100))
    for number, case in enumerate(sweep(read, data, kinds=kind)):
        expected = data[len(data) - number :] if kind is SweepKind.GUARD_PAGE_BEFORE else data[:number]
        assert (case.offset, case.result, case.error) == (number, expected, None), str(case)


def test_a_byte_too_much_is_found() -> None:
    """Every case is the fault of the byte at the edge."""
    for case in sweep(lambda region: uaccess.copy_from_user(region.address, region.size + 1), b"hello"):
        assert isinstance(case.error, FaultError)
        assert case.error.address == case.edge
        assert case.error.transferred == case.offset
