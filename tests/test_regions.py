# SPDX-License-Identifier: MIT
"""The memory of the testing kit: where it is good, where it faults and why, and that none of it is left behind."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from helpers_memory import WRITE, fault_of, faulted, seen

from axptr_native import uaccess
from axptr_native.testing import (
    Region,
    guard_page_after,
    guard_page_before,
    hole,
    no_access,
    read_only,
    straddling,
    truncated_file,
)

DATA = b"some bytes at an edge"

MAKERS: dict[str, Callable[[], AbstractContextManager[Region]]] = {
    "guard_page_after": lambda: guard_page_after(DATA),
    "guard_page_after, aligned": lambda: guard_page_after(DATA, 16),
    "guard_page_before": lambda: guard_page_before(DATA),
    "read_only": lambda: read_only(DATA),
    "no_access": lambda: no_access(len(DATA)),
    "truncated_file": lambda: truncated_file(DATA),
    "hole": hole,
    "straddling": lambda: straddling(DATA, 5),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_data_is_there_and_a_write_at_the_edge_faults(name: str) -> None:
    """The view has the good bytes, and one byte written at the edge is the fault that the region says."""
    with MAKERS[name]() as region:
        assert region.view()[:] == DATA[: region.size]
        error = fault_of(lambda: uaccess.copy_to_user(region.edge, b"x"), name)
        assert seen(error) == faulted(region.edge, 0, region.reason, WRITE)
