# SPDX-License-Identifier: MIT
"""Buffers that are released, grown or written over in the middle of an access to them."""

import contextlib
import ctypes
import weakref
from collections.abc import Callable
from ctypes import c_char
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from helpers_lines import LINES, before_line
from helpers_memory import good_memory, pattern, peek, poke
from helpers_python import let_go
from helpers_space import RW

from axptr_native import (
    PAGE_SIZE,
    AddrSpace,
    FaultError,
    FaultReason,
    GuardedView,
    MappingFlags,
    ProcessSpace,
    UserPtr,
    VirtAddr,
)

Use = Callable[[Any, Any], object]
USES: dict[str, Use] = {
    "read of a byte": lambda view, zero: view[zero],
    "read of a slice": lambda view, zero: view[zero:8],
    "read with a step": lambda view, zero: view[zero:8:2],
    "write of a byte": lambda view, zero: view.__setitem__(zero, 1),
    "write of a slice": lambda view, zero: view.__setitem__(slice(zero, 4), b"abcd"),
    "find": lambda view, zero: view.find(b"not there", zero),
    "read_into": lambda view, zero: view.read_into(bytearray(8), zero),
    "unpack_from": lambda view, zero: view.unpack_from("<Q", zero),
}


@pytest.mark.parametrize("release_gil", [False, True])
@pytest.mark.parametrize("name", USES)
def test_a_release_in_the_middle_lets_the_buffer_go_at_the_end(name: str, release_gil: bool) -> None:
    """A position whose __index__ releases the view finds the buffer exported still, and the access its buffer."""
    data = bytearray(pattern(64))
    view = GuardedView(data, release_gil=release_gil)

    class Zero:
        def __index__(self) -> int:
            view.release()
            with pytest.raises(BufferError):
                data.append(1)
            return 0

    USES[name](view, Zero())
    let_go()
    data.append(1)
    with pytest.raises(ValueError, match="released"):
        view[0]


@pytest.mark.parametrize("answer", [pattern(PAGE_SIZE), None], ids=["done", "faults"])
@pytest.mark.parametrize("name", USES)
def test_a_buffer_is_kept_for_an_access_and_for_no_exception(name: str, answer: bytes | None, space: AddrSpace) -> None:
    """A pager that releases the view it is asked for finds the buffer alive; with the access, or its fault, it goes."""
    kept: list[bool] = []

    def pager(_page: VirtAddr, _access: MappingFlags) -> bytes | None:
        view.release()
        let_go()
        kept.append(buffer() is not None)
        return answer

    start = space.map_pager(None, PAGE_SIZE, RW, pager).start
    view, buffer = viewed(start)
    with pytest.raises(FaultError) if answer is None else contextlib.nullcontext() as raised:
        USES[name](view, 0)
    let_go()
    assert (kept, buffer()) == ([True], None)
    assert (raised is None) == (answer is not None)


def viewed(start: int) -> tuple[GuardedView, Callable[[], object]]:
    """Return a view of a page, and a weak reference to the buffer, which nothing but the view keeps."""
    buffer = (c_char * PAGE_SIZE).from_address(start)
    return GuardedView(buffer), weakref.ref(buffer)


WRITES: dict[str, Callable[[int, Any], object]] = {
    "GuardedView": lambda start, data: GuardedView((c_char * 16).from_address(start)).__setitem__(slice(None), data),
    "UserSlice": lambda start, data: UserPtr[c_char](start).get_as_slice(16).__setitem__(slice(None), data),
    "UserSlice.write": lambda start, data: UserPtr[c_char](start).get_as_slice(16).write(data),
}
"""What writes 16 bytes, and nothing behind them."""


@pytest.mark.parametrize("name", WRITES)
def test_a_source_that_grows_meanwhile_spills_nothing(name: str) -> None:
    """One that another thread makes longer, where it can, is refused or written as it was; nothing behind changes."""
    with good_memory() as start:
        for number in range(LINES):
            poke(start, bytes(64))
            data = bytearray(b"x" * 16)
            with (
                contextlib.suppress(ValueError, BufferError),
                before_line(number, lambda data=data: data.extend(b"y" * 32)),  # type: ignore[misc]
            ):
                WRITES[name](start, data)
            assert peek(start, 64) in (b"x" * 16 + bytes(48), bytes(64))


def test_a_source_that_grows_meanwhile_stays_in_its_space() -> None:
    """AddrSpace.write of a source that grows is OUT_OF_RANGE if it would pass the end of the space."""
    spaces = sorted((AddrSpace(PAGE_SIZE) for _ in range(64)), key=lambda space: space.base)
    space = next(lower for lower, upper in pairwise(spaces) if lower.end == upper.base)  # what is behind is not mapped
    space.map_alloc(space.base, PAGE_SIZE, RW)
    for number in range(LINES):
        data = bytearray(b"x" * 16)
        try:
            with before_line(number, lambda data=data: data.extend(b"y" * 32)):  # type: ignore[misc]
                space.write(space.end - 16, data)
        except BufferError:
            pass
        except FaultError as error:
            assert error.reason is FaultReason.OUT_OF_RANGE  # noqa: PT017 - only if it is one


def test_a_buffer_that_grows_meanwhile_is_not_read_into_beyond_the_view() -> None:
    """read_into() of a buffer that grows is refused, or fills what it was: it reads no byte behind the view."""
    data = bytearray(b"v" * 16 + b"behind" * 8)
    view = GuardedView(memoryview(data)[:16])
    for number in range(LINES):
        buffer = bytearray(8)
        with (
            contextlib.suppress(ValueError, BufferError),
            before_line(number, lambda buffer=buffer: buffer.extend(bytes(8))),  # type: ignore[misc]
        ):
            view.read_into(buffer, 8)
        assert set(buffer) <= set(b"v\0")


OF_A_VIEW: dict[str, Callable[[GuardedView], object]] = {
    "find": lambda view: view.find(b"a"),
    "read_into": lambda view: view.read_into(bytearray(8)),
    "unpack_from": lambda view: view.unpack_from("<I"),
    "an item": lambda view: view[0],
    "a slice": lambda view: view[:4],
    "setting an item": lambda view: view.__setitem__(0, 1),
    "readonly": lambda view: view.readonly,
    "nbytes": lambda view: view.nbytes,
}


@pytest.mark.parametrize("use", OF_A_VIEW.values(), ids=OF_A_VIEW)
def test_a_view_that_is_released_meanwhile_says_so_or_finishes(use: Callable[[GuardedView], object]) -> None:
    """Whatever line another thread releases it before, the answer is right or the ValueError of a released view."""
    for number in range(LINES):
        view = GuardedView(bytearray(64))
        with (
            contextlib.suppress(ValueError),
            before_line(number, view.release),
        ):
            use(view)


class Block(ctypes.Structure):
    _fields_: ClassVar[Any] = (("data", c_char * (2 * PAGE_SIZE + 100)),)


SIZE = ctypes.sizeof(Block)


def moves(at: int, target: int) -> dict[str, Callable[[], object]]:
    """Return what copies the SIZE bytes at ``at`` to ``target``."""
    source = (c_char * SIZE).from_address(at)
    elements = UserPtr[c_char](target).get_as_slice(SIZE)
    return {
        "GuardedView": lambda: GuardedView((c_char * SIZE).from_address(target)).__setitem__(slice(None), source),
        "UserSlice": lambda: elements.__setitem__(slice(None), source),
        "UserSlice.write": lambda: elements.write(source),
        "UserRef": lambda: setattr(UserPtr[Block](target).get(), "value", Block.from_address(at)),
        "UserSlice element": lambda: UserPtr[Block](target).get_as_slice(1).__setitem__(0, Block.from_address(at)),
        "ProcessSpace.write": lambda: ProcessSpace().write(target, source),
    }


@pytest.mark.parametrize("distance", [-PAGE_SIZE, -7, 1, 64, PAGE_SIZE - 1, 2 * PAGE_SIZE + 99])
def test_a_write_over_its_own_source_moves_it(distance: int) -> None:
    """Each write of an object copies from memory that overlaps its target as memmove does, in either direction."""
    with good_memory(6) as start:
        at = start + PAGE_SIZE + 40
        content = pattern(6 * PAGE_SIZE)
        expected = bytearray(content)
        offset = at - start
        expected[offset + distance : offset + distance + SIZE] = content[offset : offset + SIZE]
        for name, move in moves(at, at + distance).items():
            poke(start, content)
            move()
            assert peek(start, len(content)) == expected, name


def test_a_write_over_its_own_source_moves_it_in_a_space(space: AddrSpace) -> None:
    """AddrSpace.write does so too."""
    start = space.map_alloc(None, 4 * PAGE_SIZE, RW).start
    space.write(start, pattern(4 * PAGE_SIZE))
    space.write(start + 5, (c_char * (3 * PAGE_SIZE)).from_address(start))
    assert (
        space.read(start, 4 * PAGE_SIZE - 5)[5:] == pattern(3 * PAGE_SIZE) + pattern(4 * PAGE_SIZE)[-PAGE_SIZE + 5 : -5]
    )
