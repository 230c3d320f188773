# SPDX-License-Identifier: MIT
"""The addresses of spaces that nobody refers to any more: given back, whatever interrupts that or has no room."""

import contextlib
import sys
from collections import deque

import pytest
from helpers_lines import before_each_line
from helpers_memory import reason_at
from helpers_python import let_go
from helpers_space import uncollected

from axptr_native import PAGE_SIZE, AddrSpace, FaultReason


def are_gone(addresses: list[int]) -> bool:
    """Return whether there is no reservation at any of the addresses, but nothing, or what others have there by now."""
    let_go()
    return {reason_at(address) for address in addresses} <= {FaultReason.NOT_MAPPED, None}


def test_a_release_that_others_interrupt_at_every_line_loses_none() -> None:
    """Wherever a finalizer stands, spaces that are let go of there in the same thread are given back as well."""
    spaces = [AddrSpace(PAGE_SIZE) for _ in range(200)]
    addresses = [int(space.base) for space in spaces]
    assert {reason_at(address) for address in addresses} == {FaultReason.NOT_PERMITTED}
    interruptions = 0

    def let_one_go() -> None:
        nonlocal interruptions
        if spaces:
            spaces.pop()
            interruptions += 1

    with before_each_line(let_one_go, within="_reservation.py"):
        while spaces:
            spaces.pop()
            if len(spaces) % 20 == 0:
                let_go()
    assert interruptions > len(addresses) // 3
    assert are_gone(addresses)


class Probe(int):
    """Begins to finalize itself as a reservation does."""

    def __del__(self) -> None:
        probed.append(divmod(self, 7))


probed: deque[tuple[int, int]] = deque()


@uncollected()
def test_addresses_that_go_with_little_stack_left_go_with_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer that cannot call all that it needs leaves its work to another's."""
    spaces: list[AddrSpace] = []
    probes: list[Probe] = []

    def down(calls: int) -> None:
        if calls:
            down(calls - 1)
        else:
            probes.pop()
            del spaces[0]

    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    tried = 0
    for left in range(40):
        spaces += [AddrSpace(PAGE_SIZE), AddrSpace(PAGE_SIZE)]
        probes.append(Probe(left))
        addresses = [int(space.base) for space in spaces]
        probed.clear()
        with contextlib.suppress(RecursionError):
            down(sys.getrecursionlimit() - depth - left)
        let_go()
        has_begun = bool(probed)
        spaces.clear()
        probes.clear()
        if has_begun:
            tried += 1
            assert are_gone(addresses), f"{left} calls left"
    assert tried > 10
