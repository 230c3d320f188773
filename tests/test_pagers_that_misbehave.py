# SPDX-License-Identifier: MIT
"""Pagers, write-backs and signal handlers that change what they are called for, and spaces paged at the same time."""

from pathlib import Path
from typing import Any

import pytest
from child import HANG, check, run
from helpers_lines import LINES, before_line
from helpers_memory import fault_of, pattern
from helpers_space import PAGED, RW, Disk, in_threads, spaced

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, VirtAddr, batch, uaccess


def fill(_page: VirtAddr, _access: MappingFlags) -> bytes:
    return b"\x07" * PAGE_SIZE


class Lying(bytes):
    """Says that it is a page."""

    def __len__(self) -> int:
        return PAGE_SIZE


@pytest.mark.parametrize("content", [b"short", bytes(PAGE_SIZE + 1)], ids=len)
def test_a_page_that_lies_about_its_size_is_refused(content: bytes, space: AddrSpace) -> None:
    """The size of bytes is what they hold, whatever their class says: REFUSED from a ValueError, or the page."""
    answers = [Lying(content), Lying(PAGED[:PAGE_SIZE])]
    start = space.map_pager(None, PAGE_SIZE, RW, lambda _page, _access: answers.pop(0)).start
    error = fault_of(lambda: space.read(start, 1), "lying")
    assert (error.reason, type(error.__cause__)) == (FaultReason.REFUSED, ValueError)
    assert f"returned {len(content)} bytes" in str(error.__cause__)
    assert space.read(start, PAGE_SIZE) == PAGED[:PAGE_SIZE]


def test_a_page_of_a_pager_that_was_replaced_is_not_shown(space: AddrSpace) -> None:
    """A pager that maps another one in its own place is refused, and its page is not taken for the other's."""

    def replace(page: VirtAddr, _access: MappingFlags) -> bytes:
        space.unmap(page, PAGE_SIZE)
        disk.map(space, start=page)
        return b"stale".ljust(PAGE_SIZE)

    disk = Disk(PAGED[:PAGE_SIZE])
    start = space.map_pager(None, PAGE_SIZE, RW, replace).start
    error = fault_of(lambda: space.read(start, 5), "replaced")
    assert (error.reason, error.__cause__, disk.asked) == (FaultReason.REFUSED, None, [])
    assert space.read(start, PAGE_SIZE) == PAGED[:PAGE_SIZE]
    assert disk.pages_asked == [0]


def test_a_page_on_its_way_out_is_not_taken_out_again(space: AddrSpace) -> None:
    """Another evict, of another thread or the write-back's own, leaves the page to the first and counts nothing."""
    taken: list[int] = []

    def write_back(_page: VirtAddr, _data: bytes) -> None:
        in_threads(lambda: taken.append(space.evict(start, PAGE_SIZE)))
        taken.append(space.evict(start, PAGE_SIZE))

    start = space.map_pager(None, PAGE_SIZE, RW, fill, write_back=write_back).start
    space.write(start, b"x")
    assert space.evict(start, PAGE_SIZE) == 1
    assert (taken, space.paging.pages_out) == ([0, 0], 1)


def test_a_page_that_could_not_be_written_back_is_shown_again(space: AddrSpace) -> None:
    """After a write-back that raises, the page is accessed as before, without a fault."""

    def write_back(_page: VirtAddr, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    start = space.map_pager(None, PAGE_SIZE, RW, fill, write_back=write_back).start
    space.write(start, b"x")
    resolved = space.paging.resolved
    with pytest.raises(OSError, match="No space left"):
        space.evict(start, PAGE_SIZE)
    space.write(start + 1, b"y")
    assert space.read(start, 3) == b"xy\x07"
    assert space.paging.resolved == resolved


class Stubborn(AddrSpace):
    """Says of each fault that it was resolved."""

    asked = 0

    def _resolve(self, _error: FaultError) -> FaultError | None:
        self.asked += 1
        assert self.asked < 10**5, "there is no end to it"
        return None


def test_a_fault_that_is_resolved_for_ever_is_a_fault_at_last() -> None:
    """An access whose page never comes, however often it is resolved, is NOT_PERMITTED, with what it did before."""
    with Stubborn(2 * PAGE_SIZE) as space:
        space.map_alloc(space.base, PAGE_SIZE, RW)
        space.map_pager(space.base + PAGE_SIZE, PAGE_SIZE, RW, fill)
        error = fault_of(lambda: uaccess.copy_from_user(space.base + 9, PAGE_SIZE), "stubborn")
        assert (error.address, error.transferred) == (space.base + PAGE_SIZE, PAGE_SIZE - 9)
        assert error.reason is FaultReason.NOT_PERMITTED
        assert space.asked > 100


def all_paged(spaces: list[AddrSpace]) -> None:
    """Check that each space's first page is paged in by a copy, and its second by a batch."""
    for space in spaces:
        assert uaccess.copy_from_user(space.base, 9) == b"\x07" * 9
    addresses = [space.base + PAGE_SIZE for space in spaces]
    assert batch.gather_from_user(addresses, 1) == (b"\x07" * len(spaces), b"\1" * len(spaces))


def test_every_space_is_paged_whatever_was_mapped_last() -> None:
    """Faults in the first of three paged spaces, the last and the one between are resolved, also after one went."""
    with spaced() as first, spaced() as second, spaced() as third:
        spaces = [first, second, third]
        for space in (second, third, first):
            space.map_pager(space.base, 2 * PAGE_SIZE, RW, fill)
        all_paged(spaces)
        with spaced() as fourth:
            fourth.map_pager(None, PAGE_SIZE, RW, fill)
        for space in spaces:
            space.evict(space.base, 2 * PAGE_SIZE)
        third.map_pager(None, PAGE_SIZE, RW, fill)
        all_paged(spaces)


def test_two_pagers_that_are_mapped_at_once_are_both_asked() -> None:
    """A pager that is mapped in one space in the middle of mapping one in another is asked, and so is the other."""
    spaces = [AddrSpace(4 * PAGE_SIZE) for _ in range(2 * LINES)]
    try:
        for number in range(LINES):
            outer, inner = spaces[2 * number : 2 * number + 2]
            with before_line(number, lambda space=inner: space.map_pager(space.base, 2 * PAGE_SIZE, RW, fill)):  # type: ignore[misc]
                outer.map_pager(outer.base, 2 * PAGE_SIZE, RW, fill)
            all_paged([outer, inner] if inner.areas() else [outer])
    finally:
        for space in spaces:
            space.close()


def test_a_handler_that_touches_the_page_that_its_thread_waits_for_gets_it(tmp_path: Path) -> None:
    """A signal handler that runs at any moment of the wait for another thread's pager reads the page, as they do."""
    code = """
import os, sys, threading
import axptr_native
from axptr_native import PAGE_SIZE, AddrSpace, FaultError, MappingFlags
sys.setswitchinterval(100)  # who has the interpreter keeps it until it waits
package, main = os.path.dirname(axptr_native.__file__), threading.current_thread()
def page_in(page, access):
    entered.set()
    while not asking: os.sched_yield()
    return b"p" * PAGE_SIZE
space = AddrSpace(PAGE_SIZE)
space.map_pager(None, PAGE_SIZE, MappingFlags.READ, page_in)
def wait(handled):
    "Wait for the page, with a handler before that line of the interpreter's own modules; return how many there are."
    global asking, entered
    lines, asking, entered = 0, [], threading.Event()
    def trace(frame, event, argument):
        nonlocal lines
        if event == "line" and not frame.f_code.co_filename.startswith(package):
            lines += 1
            if lines - 1 == handled: touch()
        return trace
    def touch():
        try: assert space.read(space.base, 1) == b"p"
        except FaultError as error: assert "interrupted" in str(error.__cause__)  # in the middle of an operation
    thread = threading.Thread(target=lambda: space.read(space.base, 1))
    thread.start()
    entered.wait()
    asking.append(True)
    sys.settrace(trace)
    assert space.read(space.base, 1) == b"p"
    sys.settrace(None)
    thread.join()
    assert space.evict(space.base, PAGE_SIZE) == 1
    return lines
for line in range(wait(None)): wait(line)
"""
    check(run(code, cwd=tmp_path, timeout=HANG))


def test_a_write_back_is_told_that_its_page_is_its_own(space: AddrSpace) -> None:
    """A write-back that reads the page that it is called for is refused in words that are about it."""
    causes: list[Any] = []

    def write_back(page: VirtAddr, _data: bytes) -> None:
        causes.append(fault_of(lambda: space.read(page, 1), "own").__cause__)

    start = space.map_pager(None, PAGE_SIZE, RW, fill, write_back=write_back).start
    space.write(start, pattern(9))
    space.evict(start, PAGE_SIZE)
    assert ["write-back" in str(cause) for cause in causes] == [True]
