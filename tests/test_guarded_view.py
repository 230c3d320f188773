# SPDX-License-Identifier: MIT
"""GuardedView: the bytes of any buffer, as long as it is held."""

import array
import contextlib
import copy
import ctypes
import mmap
import struct
import weakref
from typing import Any

import pytest
from helpers_examples import examples
from helpers_memory import mapped_file, pattern
from helpers_python import let_go
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, GuardedView

SIZE = 4 * PAGE_SIZE
CONTENT = pattern(61) + bytes(3)
checked = examples(100)
buffers = st.binary(max_size=80)
bounds = st.none() | st.integers(-90, 90)


def test_every_kind_of_buffer_is_viewed_as_flat_bytes() -> None:
    """bytes, bytearray, array, ctypes, memoryviews of any shape, and mappings give the bytes that tobytes() does."""
    whole = memoryview(bytearray(CONTENT))
    with mapped_file(CONTENT) as (_, mapping), mapped_file(CONTENT, mmap.ACCESS_READ) as (_, read_only):
        sources: list[tuple[Any, bool]] = [
            (CONTENT, True),
            (bytearray(CONTENT), False),
            (whole, False),
            (whole.toreadonly(), True),
            (whole[3:50], False),
            (whole.cast("B", (4, 16)), False),
            (whole.cast("I"), False),
            (array.array("d", [1.5, -2.5]), False),
            ((ctypes.c_int * 3)(1, -2, 3), False),
            (ctypes.c_double(0.5), False),
            (mapping, False),
            (read_only, True),
            (b"", True),
            (array.array("q"), False),
        ]
        for source, readonly in sources:
            raw = memoryview(source).tobytes()
            view: Any
            with GuardedView(source) as view:
                assert (len(view), view.nbytes, view.readonly) == (len(raw), len(raw), readonly)
                assert view[:] == bytes(view) == raw
                assert list(view) == list(raw)
                assert list(reversed(view)) == list(reversed(raw))
                assert repr(view) == f"<GuardedView of {len(raw)} bytes>"
        del source
        gone: Any
        for gone in (5, "text", None, [1, 2], object()):
            with pytest.raises(TypeError):
                GuardedView(gone)


def test_buffers_with_gaps_are_buffer_errors() -> None:
    """A memoryview with a step, of either sign, is refused, and its object is let go."""
    data = bytearray(64)
    for view in (memoryview(data)[::2], memoryview(data)[::-1], memoryview(data)[4:40:3]):
        with view, pytest.raises(BufferError):
            GuardedView(view)
    del view
    let_go()
    data.append(1)
    assert len(data) == 65


def test_a_closed_mmap_is_a_value_error() -> None:
    """Viewing one is refused with the words of mmap itself."""
    mapping = mmap.mmap(-1, PAGE_SIZE)
    mapping.close()
    with pytest.raises(ValueError, match="closed"):
        GuardedView(mapping)


def test_an_mmap_stays_open_until_the_release() -> None:
    """Its close() is BufferError while a view is open, and works after the last."""
    mapping = mmap.mmap(-1, PAGE_SIZE)
    views = [GuardedView(mapping), GuardedView(mapping)]
    for view in views:
        with pytest.raises(BufferError):
            mapping.close()
        view.release()
        view.release()
    mapping.close()


def test_the_buffer_stays_exported_until_the_release() -> None:
    """A bytearray's growth is BufferError while a view is open, and works after the last."""
    data = bytearray(8)
    views = [GuardedView(data), GuardedView(data)]
    for view in views:
        let_go()
        with pytest.raises(BufferError):
            data.append(1)
        view.release()
        view.release()
    let_go()
    data.append(1)
    inner = memoryview(data)
    with GuardedView(inner) as view:
        inner.release()
        assert view[0] == 0
        let_go()
        with pytest.raises(BufferError):
            data.append(1)
    let_go()
    data.append(1)


def test_a_view_keeps_its_object_alive() -> None:
    """Nobody else need hold the buffer."""
    view = GuardedView(bytearray(CONTENT))
    junk = [bytearray(len(CONTENT)) for _ in range(100)]
    assert view[:] == CONTENT
    assert len(junk) == 100


def test_a_view_keeps_an_object_of_ctypes_and_its_buffer() -> None:
    """An array that was made of a bytearray is kept until the release, and so the bytearray stays exported."""
    data = bytearray(CONTENT)
    array = (ctypes.c_char * len(data)).from_buffer(data)
    kept = weakref.ref(array)
    view = GuardedView(array)
    del array
    let_go()
    assert kept() is not None
    with pytest.raises(BufferError):
        data.append(1)
    view.release()
    let_go()
    assert kept() is None
    data.append(1)


def test_a_released_view_is_a_value_error() -> None:
    """After release(), or the with block, every use is ValueError, and repr says why."""
    view: Any = GuardedView(bytearray(CONTENT))
    with view as entered:
        assert entered is view
    assert repr(view) == "<GuardedView released>"
    uses: list[Any] = [
        lambda: view[0],
        lambda: view[:0],
        lambda: view.__setitem__(0, 1),
        lambda: view.__setitem__(slice(0, 0), b""),
        lambda: len(view),
        lambda: view.nbytes,
        lambda: view.readonly,
        lambda: view.find(b""),
        lambda: view.read_into(bytearray()),
        lambda: view.unpack_from("B"),
        lambda: view.__enter__(),
        lambda: list(view),
    ]
    for use in uses:
        with pytest.raises(ValueError, match="released"):
            use()
    view.release()
    failing = GuardedView(CONTENT)
    with pytest.raises(RuntimeError, match="own"), failing:
        raise RuntimeError("own")
    assert repr(failing) == "<GuardedView released>"


def test_a_copy_cannot_outlive_the_buffer() -> None:
    """Copying a view is TypeError, or the copy refuses to be used once the buffer may be closed."""
    mapping = mmap.mmap(-1, PAGE_SIZE)
    view = GuardedView(mapping)
    try:
        twin = copy.copy(view)
    except TypeError:
        view.release()
        mapping.close()
        return
    view.release()
    with contextlib.suppress(BufferError):
        mapping.close()
    if mapping.closed:
        with pytest.raises(ValueError, match="released"):
            twin[0]


@checked
@given(buffers, bounds, bounds, bounds.filter(lambda step: step != 0))
def test_every_slice_is_that_of_bytes(data: bytes, start: int | None, stop: int | None, step: int | None) -> None:
    """Bounds of any size and steps of either sign give what bytes gives."""
    assert GuardedView(data)[start:stop:step] == data[start:stop:step]


@checked
@given(buffers, st.integers(-90, 90) | st.integers())
def test_every_position_is_that_of_bytes(data: bytes, position: int) -> None:
    """From either end, and IndexError beyond."""
    view = GuardedView(data)
    if -len(data) <= position < len(data):
        assert view[position] == data[position]
    else:
        with pytest.raises(IndexError):
            view[position]


@checked
@given(st.lists(st.sampled_from(b"ab"), max_size=20).map(bytes), st.binary(max_size=3) | st.just(b"ab"), bounds, bounds)
def test_find_is_that_of_bytes(data: bytes, needle: bytes, start: int | None, end: int | None) -> None:
    """With any bounds, and for an empty needle, where it may lie at the very end but not beyond."""
    first = 0 if start is None else start
    assert GuardedView(data).find(needle, first, end) == data.find(needle, first, end)


@checked
@given(buffers, st.sampled_from(["<I", ">hHq", "B", "", "=3s2x", "d"]), st.integers(0, 90))
def test_unpack_from_is_that_of_struct(data: bytes, format: str, offset: int) -> None:  # noqa: A002
    """The same values, or ValueError where struct has no room either; a Struct will do for a format."""
    view, layout = GuardedView(data), struct.Struct(format)
    if offset + layout.size > len(data):
        with pytest.raises(ValueError, match=f"offset {offset}"):
            view.unpack_from(format, offset)
    else:
        # repr: two NaNs do not compare
        assert repr(view.unpack_from(format, offset)) == repr(struct.unpack_from(format, data, offset))
        assert repr(view.unpack_from(layout, offset)) == repr(layout.unpack_from(data, offset))


@checked
@given(st.binary(max_size=40), bounds, bounds, st.binary(max_size=40) | st.none())
def test_every_write_is_that_of_memoryview(
    data: bytes, start: int | None, stop: int | None, value: bytes | None
) -> None:
    """A buffer of the right size replaces the slice; another size is ValueError and changes nothing."""
    own, model = bytearray(data), bytearray(data)
    fitting = pattern(len(data[start:stop])) if value is None else value
    with GuardedView(own) as view:
        try:
            memoryview(model)[start:stop] = fitting
        except ValueError:
            with pytest.raises(ValueError, match="cannot take the place"):
                view[start:stop] = fitting
        else:
            view[start:stop] = fitting
        assert own == model


@pytest.mark.parametrize("distance", [-20, -1, 1, 5, 4096])
def test_a_write_of_a_part_of_the_buffer_to_another_moves_it(distance: int) -> None:
    """Source and destination may overlap in either direction, as those of memoryview may."""
    own, model = bytearray(pattern(SIZE)), bytearray(pattern(SIZE))
    low, size = max(0, -distance), SIZE - abs(distance)
    with GuardedView(own) as view:
        view[low + distance : low + distance + size] = memoryview(own)[low : low + size]
    memoryview(model)[low + distance : low + distance + size] = memoryview(model)[low : low + size]
    assert own == model


def test_wrong_writes_change_nothing() -> None:
    """Values that are no byte, positions that are not there, steps and text are refused."""
    own = bytearray(CONTENT)
    with GuardedView(own) as view:
        wrong: list[tuple[Any, Any, type[Exception]]] = [
            (0, 256, ValueError),
            (0, -1, ValueError),
            (0, "x", TypeError),
            (0, b"x", TypeError),
            (0, 1.0, TypeError),
            (len(own), 0, IndexError),
            (-len(own) - 1, 0, IndexError),
            ("0", 0, TypeError),
            (slice(0, 4, 2), b"xy", ValueError),
            (slice(None, None, -1), bytes(len(own)), ValueError),
            (slice(0, 2), "xy", TypeError),
            (slice(0, 2), [1, 2], TypeError),
            (slice(0, 2), 5, TypeError),
            (slice(0, 2), memoryview(bytes(4))[::2], BufferError),
        ]
        for position, value, error in wrong:
            with pytest.raises(error):
                view[position] = value
        assert own == CONTENT
        view[0], view[-1] = 255, True
        view[1:9] = array.array("q", [-1])
        assert own == b"\xff" * 9 + CONTENT[9:-1] + b"\1"


def test_a_read_only_buffer_refuses_every_write() -> None:
    """It is TypeError before the position and the value are looked at."""
    with mapped_file(CONTENT, mmap.ACCESS_READ) as (_, mapping):
        for source in (CONTENT, mapping, memoryview(bytearray(CONTENT)).toreadonly()):
            position: Any
            for position in (0, 999, slice(0, 1), slice(0, 0), slice(0, 4, 2), "x"):
                with GuardedView(source) as view, pytest.raises(TypeError, match="read-only"):
                    view[position] = b"x"
        del source
        assert mapping[:] == CONTENT


def test_read_into_fills_a_buffer_or_touches_nothing() -> None:
    """From any offset that leaves enough; otherwise ValueError, and TypeError for what cannot be written."""
    with GuardedView(CONTENT) as view:
        for size, offset in ((0, 0), (0, 64), (1, 63), (64, 0), (10, 7)):
            buffer = bytearray(size)
            view.read_into(buffer, offset)
            assert buffer == CONTENT[offset : offset + size]
        words = array.array("I", [0, 0])
        view.read_into(words, 4)
        assert words.tobytes() == CONTENT[4:12]
        for size, offset in ((65, 0), (1, 64), (0, 65), (1, -1)):
            buffer = bytearray(b"\xaa" * size)
            with pytest.raises(ValueError, match="of 64"):
                view.read_into(buffer, offset)
            assert buffer == b"\xaa" * size
        wrong: Any
        for wrong in (bytes(4), "text", 5):
            with pytest.raises(TypeError):
                view.read_into(wrong)


def test_numpy_arrays_are_viewed() -> None:
    """Arrays of any dimensions are flat bytes; strided ones are BufferError."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: its arrays are not tried")
    for shape in ((), (0, 3), (7,), (3, 4), (2, 3, 4), (1, 0, 2)):
        for kind in ("<i4", ">i2", "f8", "?", "c16", "V5"):
            made = numpy.zeros(shape, kind)
            made.reshape(-1).view("u1")[:] = list(pattern(made.nbytes)) if kind != "?" else 1
            with GuardedView(made) as view:
                assert view[:] == made.tobytes(), (shape, kind)
                assert len(view) == made.nbytes
    grid = numpy.arange(12).reshape(3, 4)
    for strided in (grid.T, grid[:, 1:], grid[::2], grid[::-1]):
        with pytest.raises(BufferError):
            GuardedView(strided)
