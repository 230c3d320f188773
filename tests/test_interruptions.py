# SPDX-License-Identifier: MIT
"""Finalizers that use an address space in the middle of its own operations, wherever the garbage collector runs."""

import gc
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from helpers_lines import before_each_line
from helpers_memory import READ, pattern
from helpers_python import IS_PYPY, let_go
from helpers_space import RW, Disk, at, layout, spaced, uncollected

from axptr_native import PAGE_SIZE, AddrSpace, MappingFlags, VirtAddr, _spaces, uaccess


@contextmanager
def interrupted_by(act: Callable[[], object]) -> Iterator[list[BaseException | None]]:
    """Run a function wherever the collector could run a finalizer, once each time; give what it raised, if anything."""
    ended: list[BaseException | None] = []
    running = False

    def interrupt() -> None:
        nonlocal running
        if not running:
            running = True
            try:
                act()
                ended.append(None)
            except Exception as error:  # noqa: BLE001, RUF100 - handed on
                ended.append(error)
            finally:
                running = False

    # PyPy runs finalizers anywhere, and does not let itself be told when to collect.
    with before_each_line(interrupt) if IS_PYPY else at_each_allocation(interrupt):
        yield ended


@contextmanager
def at_each_allocation(act: Callable[[], object]) -> Iterator[None]:
    """Run a function whenever the collector, told to be eager, begins."""

    def on_collection(phase: str, _details: object) -> None:
        if phase == "start":
            act()

    before = gc.get_threshold()
    gc.callbacks.append(on_collection)
    gc.set_threshold(1, 1000, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(on_collection)


def test_finalizers_unmap_at_once_or_with_the_next_operation() -> None:
    """Ranges that finalizers unmap during maps, protects and unmaps of others go, and the others are right."""
    with spaced(202) as space:

        def unmap() -> None:
            if unmapped:
                space.unmap(unmapped.pop(), PAGE_SIZE)

        owned = [space.map_alloc(at(space, 2 * number), PAGE_SIZE, RW).start for number in range(50)]
        kept = owned[::10]
        unmapped = [start for start in owned if start not in kept]
        for number in range(50):
            with interrupted_by(unmap) as ended:
                start = at(space, 2 * number + 101)
                space.map_alloc(start, PAGE_SIZE, READ)
                space.protect(start, PAGE_SIZE, RW)
                space.write(start, pattern(9))
                assert space.read(start, 9) == pattern(9)
                space.unmap(start, PAGE_SIZE)
            assert set(ended) <= {None}
        assert not unmapped
        space.unmap(at(space, 201), PAGE_SIZE)
        assert layout(space) == [((start - space.base) // PAGE_SIZE, 1, RW) for start in kept]


def test_other_changes_there_are_done_or_refused() -> None:
    """A protect in the middle of another operation is RuntimeError and changes nothing, and beside one it is done."""
    with spaced(64) as space:
        start, flags = space.map_alloc(at(space, 50), PAGE_SIZE, RW).start, RW

        def protect() -> None:
            nonlocal flags
            wanted = READ if flags == RW else RW
            space.protect(start, PAGE_SIZE, wanted)
            flags = wanted

        with interrupted_by(protect) as ended:
            for _ in range(10):
                mapped = space.map_alloc(at(space, 10), PAGE_SIZE, RW).start
                space.unmap(mapped, PAGE_SIZE)
        assert {type(error) for error in ended} == {type(None), RuntimeError}
        assert layout(space) == [(50, 1, flags)]


def test_a_space_with_pagers_may_go_while_others_are_looked_through() -> None:
    """Whenever the collector lets go of one, whose faults may have to be paged in is told from the others."""
    disk = Disk(pattern(PAGE_SIZE))
    for moment in range(20):
        with uncollected():
            spaces = [AddrSpace(PAGE_SIZE) for _ in range(10)]
            for space in spaces:
                disk.map(space)
            first, last = min(space.base for space in spaces), max(space.end for space in spaces)
            garbage: list[object] = [space for space in spaces if space.base != first and space.end != last]
            spaces = [space for space in spaces if space not in garbage]
            garbage.append(garbage)
            del space, garbage
            threshold = gc.get_threshold()
            taken = [{moment: moment} for _ in range(100)]  # so that the next dictionary is allocated
            gc.set_threshold(gc.get_count()[0] + moment)
            gc.enable()
            try:
                start, end = _spaces.paged()
            finally:
                gc.set_threshold(*threshold)
            assert start <= first < last <= end
            del taken


def test_no_page_is_shown_that_was_evicted_meanwhile() -> None:
    """Finalizers that evict pages while these are brought in are refused, or the page is asked for again."""
    with spaced(16) as space:
        disk = Disk(pattern(4 * PAGE_SIZE))
        start = disk.map(space)
        chosen = random.Random(1)
        # Not each time: a page that always goes again before it is accessed is given up at last.
        with interrupted_by(lambda: chosen.random() < 0.1 and space.evict(start, 4 * PAGE_SIZE)) as ended:
            for number in range(200):
                offset = number % 4 * PAGE_SIZE + 5
                assert uaccess.copy_from_user(start + offset, 99) == disk.data[offset : offset + 99]
        assert {type(error) for error in ended} == {type(None), RuntimeError}


def test_a_pager_may_unmap_something_when_it_goes() -> None:
    """The finalizer of a pager that goes with its area runs when the space is free for it again."""
    with spaced(16) as space:
        own = space.map_alloc(at(space, 8), PAGE_SIZE, RW).start

        class Owner:
            def page_in(self, _page: VirtAddr, _access: MappingFlags) -> bytes:
                return bytes(PAGE_SIZE)

            def __del__(self) -> None:
                space.protect(own, PAGE_SIZE, READ)
                space.unmap(own, PAGE_SIZE)

        mapped = space.map_pager(at(space, 0), PAGE_SIZE, RW, Owner().page_in)
        space.unmap(mapped.start, PAGE_SIZE)
        let_go()
        assert layout(space) == []
