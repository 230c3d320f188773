# SPDX-License-Identifier: MIT
"""Where the system has no more mappings for a process: an operation is done, or it is ENOMEM and nothing has changed.

The second half of this file runs in a child, whose mappings are taken all but a few.
"""

import ctypes
import errno
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from child import LONG, check, run
from helpers_limit import ROOMS, STEADY, Pressure, hardware, needs_a_limit
from helpers_memory import READ, WRITE, pattern, reason_at
from helpers_python import IS_PYPY, let_go
from helpers_space import NONE, RW, Disk, at
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test
from test_aspace_model import Spaces

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, MappingFlags, UserPtr

pytestmark = needs_a_limit

DONE, REFUSED = "done", "ENOMEM, nothing changed"
Pages = dict[int, tuple[MappingFlags, bytes]]


def in_child(call: str, tmp_path: Path) -> str:
    """Run a function of this file in a child that must not complain, and return what it printed."""
    code = f"import test_mapping_limit\ntest_mapping_limit.{call}"
    child = check(run(code, cwd=tmp_path, environment=STEADY, timeout=2 * LONG))
    assert child.stderr == ""
    return child.stdout


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """How each operation ended with each number of mappings left."""
    said: dict[str, dict[str, str]] = json.loads(in_child("walk()", tmp_path_factory.mktemp("limit")))
    return said


# ---- In the child. ----


class Subject:
    """A space with areas of each kind, whose pagers have some pages in."""

    def __init__(self) -> None:
        self.space = space = AddrSpace(48 * PAGE_SIZE)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the space
        self.file.write(pattern(4 * PAGE_SIZE, first=7))
        self.file.flush()
        space.map_alloc(at(space, 0), 4 * PAGE_SIZE, RW)
        space.write(at(space, 0), pattern(4 * PAGE_SIZE))
        space.map_alloc(at(space, 4), 4 * PAGE_SIZE, READ)
        space.map_file(at(space, 10), self.file, 4 * PAGE_SIZE, RW)
        space.map_alloc(at(space, 20), 4 * PAGE_SIZE, RW)
        self.disks = [self.disk(page, pages) for page, pages in ((14, 6), (28, 5), (34, 5))]
        for page in (14, 15, 17, 18, *range(28, 33)):
            space.read(at(space, page), 1)
        for page in (15, 18):
            space.write(at(space, page), b"written")

    def disk(self, page: int, pages: int) -> Disk:
        made = Disk(pattern(pages * PAGE_SIZE, first=page))
        made.map(self.space, start=at(self.space, page))
        return made

    def close(self) -> None:
        self.space.close()
        self.file.close()

    def layout(self) -> object:
        """Return everything about the areas."""
        start = self.space.base
        return self.space.closed, [
            (area.range.start - start, area.range.end - start, area.flags, type(area.backing), area.offset)
            for area in self.space.areas()
        ]

    def seen(self) -> object:
        """Return the areas, and what the hardware says of the pages."""
        return self.layout(), hardware(self.space)

    def contents(self) -> list[bytes]:
        """Return what can be read, after all that can be written was written over with itself."""
        found = []
        for area in self.space.areas():
            if READ in area.flags:
                data = self.space.read(area.range.start, area.range.size)
                found.append(data)
                if RW in area.flags:
                    self.space.write(area.range.start, data)
        return found


def on(page: int, pages: int, name: str, *arguments: object, **options: object) -> Callable[[Subject], object]:
    """Return a call of a space's method for some pages."""
    return lambda s: getattr(s.space, name)(at(s.space, page), pages * PAGE_SIZE, *arguments, **options)


OPERATIONS: dict[str, Callable[[Subject], object]] = {
    "map in the middle": on(43, 1, "map_alloc", RW),
    "map without access": on(43, 1, "map_alloc", NONE),
    "map beside its like": on(24, 1, "map_alloc", RW),
    "map between its like": on(8, 2, "map_alloc", RW),
    "map anywhere, populated": lambda s: s.space.map_alloc(None, 2 * PAGE_SIZE, RW, populate=True),
    "map a file": lambda s: s.space.map_file(at(s.space, 43), s.file, PAGE_SIZE, RW),
    "map a private file": lambda s: s.space.map_file(at(s.space, 43), s.file, PAGE_SIZE, RW, shared=False),
    "map a pager": on(43, 1, "map_pager", RW, lambda _page, _access: bytes(PAGE_SIZE)),
    "protect the middle": on(1, 2, "protect", READ),
    "protect the start": on(0, 2, "protect", READ),
    "protect the end": on(2, 2, "protect", NONE),
    "protect a whole": on(0, 4, "protect", NONE),
    "protect what is so already": on(1, 2, "protect", RW),
    "protect parts of two": on(2, 4, "protect", NONE),
    "protect parts of two files": on(12, 5, "protect", READ),
    "protect parts of a pager and its neighbour": on(17, 5, "protect", READ),
    "protect parts of many": on(11, 11, "protect", READ),
    "protect pages that are in": on(15, 3, "protect", READ),
    "protect a pager": on(14, 6, "protect", NONE),
    "protect the middle of a pager": on(30, 1, "protect", NONE),
    "unmap the middle": on(1, 2, "unmap"),
    "unmap the start": on(0, 2, "unmap"),
    "unmap a whole": on(0, 4, "unmap"),
    "unmap parts of many": on(2, 14, "unmap"),
    "unmap the middle of a pager": on(30, 1, "unmap"),
    "unmap nothing": on(43, 1, "unmap"),
    "evict one page": on(17, 1, "evict"),
    "evict the middle": on(30, 1, "evict"),
    "evict the end": on(31, 2, "evict"),
    "populate memory": on(1, 2, "populate_area", RW),
    "populate a file": on(11, 2, "populate_area", RW),
    "populate the middle of a pager": on(36, 1, "populate_area", READ),
    "populate a page that is in": on(30, 1, "populate_area", RW),
    "populate what is in": on(28, 5, "populate_area", READ),
    "get a pointer to the middle of a pager": lambda s: UserPtr[ctypes.c_int](at(s.space, 36)).get(s.space),
    "read the middle of a pager": on(36, 1, "read"),
    "write to a page that is in": lambda s: s.space.write(at(s.space, 30), b"new"),
    "clear": lambda s: s.space.clear(),
    "close": lambda s: s.space.close(),
    "make another space": lambda _: AddrSpace(PAGE_SIZE),
}


def failure(operation: Callable[[Subject], object], subject: Subject) -> tuple[int | None, str] | None:
    """Return how an operation failed, or None.

    Not the error: with the caller's frame it would be a cycle, and the space garbage that keeps its addresses.
    """
    try:
        operation(subject)
    except FaultError as error:
        return getattr(error.__cause__, "errno", None), repr(error.__cause__)
    except OSError as error:
        return error.errno, repr(error)
    return None


def outcome(operation: Callable[[Subject], object], room: int, pressure: Pressure, expected: list[object]) -> str:
    """Return how an operation ends when so many mappings are left."""
    subject = Subject()
    try:
        before = subject.seen()
        with pressure.leaving(room):
            failed = failure(operation, subject)
        if failed is None:
            found = [subject.seen(), subject.contents()]
            return DONE if found == expected else f"done wrong: {found[0]}"
        number, words = failed
        if number != errno.ENOMEM:
            return words
        if subject.seen() != before:
            return f"changed: {before} {subject.seen()}"
        operation(subject)
        found = [subject.seen(), subject.contents()]
        return REFUSED if found == expected else f"wrong afterwards: {found}"
    finally:
        subject.close()


def walk() -> None:
    """Print how each operation ends with each number of mappings left."""
    pressure = Pressure()
    outcomes = {}
    for name, operation in OPERATIONS.items():
        subject = Subject()
        operation(subject)
        expected = [subject.seen(), subject.contents()]
        subject.close()
        outcomes[name] = {room: outcome(operation, room, pressure, expected) for room in ROOMS}
    print(json.dumps(outcomes))


class SpacesAtTheLimit(Spaces):
    """The model's space, each of whose operations finds a few mappings left; one that fails is done again without."""

    pressure: Pressure
    limited = 0

    def __init__(self) -> None:
        super().__init__()
        self.room = 0

    @rule(room=st.sampled_from(ROOMS))
    def squeeze(self, room: int) -> None:
        """Leave so many mappings from now on."""
        self.room = room

    def outcome(self, act: Callable[[], object]) -> object:
        """Return what an operation returns in the end, or its error."""
        before, evicted = (self.space.areas(), self.unpaged()), self.space.paging.pages_out
        written = range(0)
        with self.pressure.leaving(self.room):
            try:
                return act()
            except FaultError as error:
                cause, at = error.__cause__, error.address - self.space.base
                if cause is None:
                    return error.reason, at, error.transferred, error.access
                if error.access is WRITE:
                    written = range(at - error.transferred, at)
            except OSError as error:
                cause = error
        assert isinstance(cause, OSError)
        outside, inside = cut(self.unpaged(), written)
        assert (self.space.areas(), outside) == (before[0], cut(before[1], written)[0])
        evicted = self.space.paging.pages_out - evicted
        again = super().outcome(act)
        assert cut(self.unpaged(), written)[1] == inside
        if cause.errno != errno.ENOMEM or again == errno.ENOMEM:  # an error of its own: of a hole, say
            assert again == cause.errno
            return again
        type(self).limited += 1
        return again + evicted if isinstance(again, int) else again  # those that were evicted before stayed out

    def unpaged(self) -> Pages:
        """Return what the hardware says of pages that cannot come and go."""
        pages = enumerate(hardware(self.space))
        return {number: page for number, page in pages if not getattr(self.model.get(number), "paged", False)}


def cut(pages: Pages, span: range) -> tuple[Pages, dict[int, bytes]]:
    """Return the pages without the bytes of a span, and those bytes."""
    outside, inside = {}, {}
    for number, (flags, data) in pages.items():
        low, high = (min(max(end - number * PAGE_SIZE, 0), PAGE_SIZE) for end in (span.start, span.stop))
        outside[number], inside[number] = (flags, data[:low] + data[high:]), data[low:high]
    return outside, inside


def walk_at_random() -> None:
    """Run the model at the limit, and print how often that was felt."""
    SpacesAtTheLimit.pressure = Pressure()
    # To explain a failure hypothesis would note every line, for which there is no memory.
    most = 30 if IS_PYPY else 120  # without its compiler PyPy is slow
    chosen = settings(Spaces.TestCase.settings, max_examples=most, phases=[Phase.generate, Phase.shrink])
    run_state_machine_as_test(SpacesAtTheLimit, settings=chosen)
    print(SpacesAtTheLimit.limited)


def clear_and_use_again() -> None:
    """Clear a space where no mapping is left, and use it."""
    pressure = Pressure()
    subject = Subject()
    with pressure.leaving(-1):
        subject.space.clear()
        assert subject.layout() == (False, [])
        assert {flags for flags, _ in hardware(subject.space)} == {NONE}
    mapped = subject.space.map_alloc(subject.space.base, subject.space.size, RW)
    assert subject.space.read(mapped.start, mapped.size) == bytes(mapped.size)
    subject.close()


def keep_the_first_error() -> None:
    """Map a file that may not be written to, where no mapping is left to repair anything."""
    pressure = Pressure()
    subject = Subject()
    before = subject.seen()
    with Path(__file__).open("rb") as file, pressure.leaving(0), pytest.raises(PermissionError):
        subject.space.map_file(at(subject.space, 43), file, PAGE_SIZE, RW)
    assert subject.seen() == before
    subject.close()


def ask_once() -> None:
    """Read a page that is not there, twice where no mapping is left to show it and then again."""
    pressure = Pressure()
    subject = Subject()
    page, disk = at(subject.space, 36), subject.disks[2]
    paging = subject.space.paging
    for _ in range(2):
        with pressure.leaving(0), pytest.raises(FaultError, match="refused") as raised:
            subject.space.read(page, 1)
        assert getattr(raised.value.__cause__, "errno", None) == errno.ENOMEM
    assert (disk.pages_asked, paging.refused) == ([2], 2)
    assert subject.space.read(page, PAGE_SIZE) == disk.data[2 * PAGE_SIZE : 3 * PAGE_SIZE]
    assert disk.pages_asked == [2]
    subject.close()


def release_from_the_middle() -> None:
    """Let spaces go that the system has joined into one mapping, where none is left to cut them out."""
    pressure = Pressure()
    spaces = sorted((AddrSpace(16 * PAGE_SIZE) for _ in range(64)), key=lambda space: space.base)
    first = next(i for i in range(1, 63) if spaces[i - 1].end == spaces[i].base and spaces[i].end == spaces[i + 1].base)
    base = int(spaces[first].base)
    with pressure.leaving(0):
        del spaces[first]
        let_go()
        assert reason_at(base) is FaultReason.NOT_PERMITTED
    spaces.pop()
    let_go()
    assert reason_at(base) is FaultReason.NOT_MAPPED


# ---- The tests. ----


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_done_or_changes_nothing(operation: str, outcomes: dict[str, dict[str, str]]) -> None:
    """With few mappings left it is ENOMEM and changes no area, byte or access, and with some more it is done."""
    found = [outcomes[operation][str(room)] for room in ROOMS]
    refused = found.count(REFUSED)
    assert found == [REFUSED] * refused + [DONE] * (len(ROOMS) - refused)
    assert found[-1] == DONE


def test_what_splits_a_mapping_feels_the_limit(outcomes: dict[str, dict[str, str]]) -> None:
    """Whatever needs two more mappings is refused while there is one, and everything that maps where mmap fails."""
    names = [name for name in OPERATIONS if name.split()[0] in ("protect", "evict", "populate", "get", "read", "write")]
    for name in (name for name in names if name.partition(" ")[2].startswith("the middle")):
        assert outcomes[name]["1"] == REFUSED, name
    for name in (name for name in OPERATIONS if name.startswith(("map", "make"))):
        assert outcomes[name]["-1"] == REFUSED, name


@pytest.mark.parametrize("operation", ["clear", "close"])
def test_clearing_and_closing_need_no_mapping(operation: str, outcomes: dict[str, dict[str, str]]) -> None:
    """Both are done with any number of mappings left: what frees mappings must not need one."""
    assert set(outcomes[operation].values()) == {DONE}


def test_a_space_agrees_with_its_model_at_the_limit(tmp_path: Path) -> None:
    """Random operations with random numbers of mappings left change what they should, or nothing and then all of it."""
    assert int(in_child("walk_at_random()", tmp_path)) > (10 if IS_PYPY else 50)


def test_what_was_cleared_at_the_limit_is_used_again(tmp_path: Path) -> None:
    """A space that was cleared where no mapping was left allows no access, and gives zeros when it is mapped anew."""
    in_child("clear_and_use_again()", tmp_path)


def test_the_error_of_a_map_is_its_own(tmp_path: Path) -> None:
    """A file that may not be mapped so is EACCES also where nothing can be mapped, and nothing has changed."""
    in_child("keep_the_first_error()", tmp_path)


def test_a_page_that_cannot_be_shown_is_not_asked_for_again(tmp_path: Path) -> None:
    """A pager's page stays in, hidden, until there is a mapping for it."""
    in_child("ask_once()", tmp_path)


def test_addresses_are_given_back_when_there_is_room(tmp_path: Path) -> None:
    """A space that goes where its reservation cannot be cut out goes with the next one, and says nothing."""
    in_child("release_from_the_middle()", tmp_path)
