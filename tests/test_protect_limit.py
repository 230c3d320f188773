# SPDX-License-Identifier: MIT
"""protect() of parts that give mappings back and need more, where the system has few left: all of it, or nothing.

The first function runs in a child, whose mappings are taken all but a few.
"""

import json
from pathlib import Path

import pytest
from child import LONG, check, run
from helpers_limit import STEADY, Pressure, hardware, needs_a_limit
from helpers_memory import READ
from helpers_space import NONE, Disk, at, spaced

from axptr_native import PAGE_SIZE

pytestmark = needs_a_limit


def join_and_split(joined: int, last: int) -> None:
    """Protect areas, which join their neighbours then, and pager's pages, which are cut out; print how that ended."""
    pressure = Pressure()
    outcomes = []
    for room in range(7):
        with spaced(4 * joined + 4) as space:
            for page in range(2 * joined + last):
                space.map_alloc(at(space, page), PAGE_SIZE, NONE if page % 2 else READ)
            start, size = at(space, 2 * joined + last), (2 * joined + 3) * PAGE_SIZE
            Disk(bytes(size)).map(space, start=start)
            for page in range(1, 2 * joined + 2, 2):
                space.read(start + page * PAGE_SIZE, 1)
            space.protect(start, size, NONE)
            before = space.areas(), hardware(space)
            try:
                with pressure.leaving(room):
                    space.protect(space.base, start - space.base + size, READ)
            except OSError:
                outcomes.append("refused" if (space.areas(), hardware(space)) == before else "changed")
            else:
                outcomes.append("done")
    print(json.dumps(outcomes))


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("joined", [1, 2, 5])
def test_what_a_change_gave_back_is_not_missing_when_it_is_undone(joined: int, last: int, tmp_path: Path) -> None:
    """With few mappings left it is refused and everything allows what it did, with some more it is done."""
    code = f"import test_protect_limit\ntest_protect_limit.join_and_split({joined}, {last})"
    outcomes = json.loads(check(run(code, cwd=tmp_path, environment=STEADY, timeout=2 * LONG)).stdout)
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {"refused", "done"}
