# SPDX-License-Identifier: MIT
"""What needs memory of our own where the system has no address space left, in a child."""

import ctypes
import errno
from pathlib import Path

import pytest
from child import check, run
from helpers_limit import limited
from helpers_memory import READ, pattern, poke
from helpers_regions import needs_maps
from helpers_space import in_threads

from axptr_native import PAGE_SIZE, guarded_call, uaccess
from axptr_native._memory import READ_WRITE, map_memory, protect_memory

pytestmark = needs_maps

LARGE = 64 << 20


def copy_without_room() -> None:
    start = map_memory(LARGE, READ_WRITE)
    poke(start, pattern(PAGE_SIZE))
    protect_memory(start, LARGE, READ)
    with limited(LARGE // 2):
        for partial in (False, True):
            with pytest.raises(MemoryError, match=f"no room for the {LARGE} bytes at {start:#x}"):
                uaccess.copy_from_user(start, LARGE, partial=partial)
        assert uaccess.copy_from_user(start, PAGE_SIZE) == pattern(PAGE_SIZE)
    assert len(uaccess.copy_from_user(start, LARGE)) == LARGE


def call_without_a_stack() -> None:
    function = ctypes.CDLL(None).abs

    def refused() -> int | None:
        try:
            guarded_call(function, -5)
        except OSError as error:
            return error.errno
        return None

    in_threads(refused)  # whose stack goes with it; what else the call needs is there from now on
    with limited(0):
        outcomes = refused(), refused()
    assert outcomes == (errno.ENOMEM, errno.ENOMEM)
    assert refused() is None


def test_good_memory_without_room_for_a_copy_is_a_memory_error(tmp_path: Path) -> None:
    """The error says how much there is no room for; small copies and later ones are made."""
    check(run("import test_address_space_limit as test; test.copy_without_room()", cwd=tmp_path))


def test_a_guarded_call_without_room_for_its_stack_is_enomem(tmp_path: Path) -> None:
    """A thread whose first guarded call finds no address space calls nothing, and can later."""
    check(run("import test_address_space_limit as test; test.call_without_a_stack()", cwd=tmp_path))
