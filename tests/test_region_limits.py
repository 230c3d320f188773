# SPDX-License-Identifier: MIT
"""What is left of the testing kit's regions where the system refuses memory for them, in a child: nothing."""

import errno
from pathlib import Path

import pytest
from child import LONG, check, run
from helpers_limit import MOST, ROOMS, STEADY, Pressure, limited
from helpers_regions import MAKERS, left, needs_maps

pytestmark = needs_maps

DATA = b"some bytes at an edge"


def test_without_address_space_nothing_is_left(tmp_path: Path) -> None:
    """At the limit of its address space each region is ENOMEM, and what was there before is all that is there."""
    check(run("import test_region_limits; test_region_limits.refuse_address_space()", cwd=tmp_path))


@pytest.mark.skipif(MOST > 100_000, reason=f"{MOST} mappings take too long to use up")
def test_without_mappings_nothing_is_left(tmp_path: Path) -> None:
    """Whichever step of making a region is one mapping too many: it is ENOMEM, and nothing of it is left."""
    code = "import test_region_limits; test_region_limits.refuse_mappings()"
    check(run(code, cwd=tmp_path, environment=STEADY, timeout=2 * LONG))


def refuse_address_space() -> None:
    _attempt_all()  # what is needed on the way is there afterwards
    before = left()
    with limited(0):
        refused = _attempt_all()
    assert refused == dict.fromkeys(MAKERS, errno.ENOMEM), refused
    assert left() == before
    assert _attempt_all() == dict.fromkeys(MAKERS)


def refuse_mappings() -> None:
    pressure = Pressure()
    before = left()
    for room in ROOMS:
        with pressure.leaving(room):
            refused = _attempt_all()
        assert set(refused.values()) <= {None, errno.ENOMEM}, (room, refused)
        assert room >= 0 or set(refused.values()) == {errno.ENOMEM}, (room, refused)
        assert left() == before, room
    assert _attempt_all() == dict.fromkeys(MAKERS)


def _attempt_all() -> dict[str, int | None]:
    """Return the errno that each region is refused with, None for those that are made."""
    refused: dict[str, int | None] = {}
    for name, make in MAKERS.items():
        refused[name] = None
        try:
            with make(DATA) as region:
                region.view()[:]
        except OSError as error:
            refused[name] = error.errno
    return refused
