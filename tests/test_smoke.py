# SPDX-License-Identifier: MIT
"""The main promise, end to end."""

import pytest

from axptr_native import FaultError
from axptr_native._regions import Ending, Region
from axptr_native.uaccess import copy_from_user


def test_a_fault_is_an_exception_with_exact_fields(ending: Ending, region: Region) -> None:
    """Reading over the edge names the first bad byte, the reason and the bytes done."""
    with pytest.raises(FaultError) as caught:
        copy_from_user(region.edge - 13, 64)
    assert caught.value.address == region.edge
    assert caught.value.reason is ending.value
    assert caught.value.transferred == 13
