# SPDX-License-Identifier: MIT
"""Memory that ends, as fixtures."""

from collections.abc import Iterator

import pytest

from axptr_native._regions import Ending, Region, ending_memory


@pytest.fixture(params=list(Ending), ids=lambda ending: ending.name.lower())
def ending(request: pytest.FixtureRequest) -> Ending:
    """Each way in which memory can end."""
    value: Ending = request.param
    return value


@pytest.fixture
def region(ending: Ending) -> Iterator[Region]:
    """Two good pages and two bad ones."""
    with ending_memory(ending) as memory:
        yield memory
