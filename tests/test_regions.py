# SPDX-License-Identifier: MIT
"""The memory of the testing kit: where it is good, where it faults and why, and that none of it is left behind."""

import array
import copy
import ctypes
import errno
import mmap
import pickle
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from helpers_memory import READ, WRITE, Indexed, fault_of, faulted, pattern, peek, poke, seen
from helpers_platform import c_library
from helpers_processor import BEGINS_EARLY, as_told
from helpers_regions import ENDED, LIBC, MAKERS, TRUNCATED, left, needs_maps
from helpers_space import uncollected

from axptr_native import PAGE_SIZE, CallFaultError, FaultReason, VirtAddr, _regions, guarded_call, uaccess
from axptr_native._memory import READ_WRITE, map_memory, protect_memory, unmap_memory
from axptr_native.testing import (
    Region,
    guard_page_after,
    guard_page_before,
    hole,
    no_access,
    non_canonical,
    read_only,
    straddling,
    truncated_file,
)

DATA = b"some bytes at an edge"
SIZES = (0, 1, 15, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE + 5)
REASONS = {"truncated_file": FaultReason.BEYOND_END, "hole": FaultReason.NOT_MAPPED}
"""Of the others it is NOT_PERMITTED."""


def call_fault(function: Any, *args: object) -> CallFaultError:
    """Return the fault of a guarded call."""
    error = fault_of(lambda: guarded_call(function, *args), f"{function.__name__}{args}")
    assert isinstance(error, CallFaultError)
    return error


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MAKERS)
def test_the_good_bytes_are_the_data_and_the_edge_is_bad(name: str, size: int) -> None:
    """A region's view has its data, and a byte written at its edge is the fault that the region says."""
    data = pattern(size)
    with MAKERS[name](data) as region:
        assert region.reason is REASONS.get(name, FaultReason.NOT_PERMITTED)
        assert region.size == (0 if name in ("no_access", "hole") else size)
        assert region.view()[:] == peek(region.address, region.size) == data[: region.size]
        error = fault_of(lambda: uaccess.copy_to_user(region.edge, b"x"), name)
        assert seen(error) == faulted(region.edge, 0, region.reason, WRITE)
        assert region.view()[:] == data[: region.size]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", MAKERS)
def test_the_edge_is_bad_for_c(name: str, size: int) -> None:
    """A byte that a foreign function writes there is the same fault, and the good bytes stay."""
    data = pattern(size)
    with MAKERS[name](data) as region:
        error = call_fault(LIBC.memset, region.edge, 1, 1)
        assert seen(error) == faulted(region.edge, 0, region.reason, WRITE)
        assert region.view()[:] == data[: region.size]


each_distance = pytest.mark.parametrize(
    "distances", [range(101), (*range(0, PAGE_SIZE, 509), *range(PAGE_SIZE - 2, PAGE_SIZE + 4))]
)


@each_distance
@pytest.mark.parametrize("name", ENDED)
def test_whatever_crosses_the_edge_faults_there(name: str, distances: Sequence[int]) -> None:
    """From each good byte on, what ends at the edge succeeds; a byte more, and it faults there."""
    size = distances[-1]
    data = pattern(size)
    with ENDED[name](data) as region:
        assert region.address + size == region.edge
        for good in distances:
            start, reading = region.edge - good, faulted(region.edge, good, region.reason, READ)
            assert uaccess.copy_from_user(start, good) == data[size - good :]
            assert seen(fault_of(lambda: uaccess.copy_from_user(start, good + 1), name)) == reading  # noqa: B023
        for good in distances:
            start, writing = region.edge - good, faulted(region.edge, good, region.reason, WRITE)
            error = fault_of(lambda: uaccess.copy_to_user(start, bytes(good + 1)), name)  # noqa: B023
            assert seen(error) == writing


@each_distance
@pytest.mark.parametrize("name", ENDED)
def test_whatever_crosses_the_edge_in_c_faults_there(name: str, distances: Sequence[int]) -> None:
    """So do memcpy, strlen and memset."""
    size = distances[-1]
    data = pattern(size)
    out = ctypes.create_string_buffer(size + 1)
    with ENDED[name](data) as region:
        for good in distances:
            start, reading = region.edge - good, faulted(region.edge, 0, region.reason, READ)
            guarded_call(LIBC.memcpy, out, start, good)
            assert out.raw[:good] == data[size - good :]
            assert seen(call_fault(LIBC.memcpy, out, start, good + 1)) == reading
            assert seen(call_fault(LIBC.strlen, start)) == reading
        for good in distances:
            writing = faulted(region.edge, 0, region.reason, WRITE)
            assert seen(call_fault(LIBC.memset, region.edge - good, 0, good + 1)) == writing


EARLY = (1, 2, 3, 8, 16, 100, PAGE_SIZE, 5 * PAGE_SIZE + 1)


@pytest.mark.parametrize("size", [0, 1, 100, PAGE_SIZE + 3])
def test_whatever_starts_before_the_data_faults_at_once(size: int) -> None:
    """Behind a guard page, an access of any size that starts a byte or more too early faults where it starts."""
    with guard_page_before(pattern(size)) as region:
        assert region.address == region.edge + 1
        for start in (region.address - early for early in EARLY):
            for count in (1, size + 1, 2 * size + 3):
                error = fault_of(lambda: uaccess.copy_from_user(start, count), "read")  # noqa: B023
                assert seen(error) == faulted(start, 0, FaultReason.NOT_PERMITTED, READ)


@pytest.mark.parametrize("size", [0, 1, 100, PAGE_SIZE + 3])
def test_whatever_starts_before_the_data_in_c_faults_at_once(size: int) -> None:
    """So do memcpy and memset, and the data stays."""
    out = ctypes.create_string_buffer(2 * size + 8)
    with guard_page_before(pattern(size)) as region:
        for start in (region.address - early for early in EARLY):
            for count in (1, size + 1, 2 * size + 3):
                for access, call in ((READ, (LIBC.memcpy, out, start)), (WRITE, (LIBC.memset, start, 0))):
                    fault = seen(call_fault(*call, count))
                    assert fault._replace(address=start) == faulted(start, 0, FaultReason.NOT_PERMITTED, access)
                    last = start + count - 1 if BEGINS_EARLY else start
                    assert start - BEGINS_EARLY <= fault.address <= last
        assert region.view()[:] == pattern(size)


@pytest.mark.parametrize("name", MAKERS)
def test_both_sides_are_bad_for_many_pages(name: str) -> None:
    """Beyond the edge each byte faults for the region's reason; so do the pages before and after the data's own."""
    with MAKERS[name](DATA) as region:
        step = -1 if name == "guard_page_before" else 1
        write = uaccess.put_user
        for distance in (0, 1, 63, PAGE_SIZE - 1, PAGE_SIZE, 15 * PAGE_SIZE):
            at: int = region.edge + step * distance
            if name == "read_only" and distance:
                at = region.edge + len(DATA) + distance
            error = fault_of(lambda: write(at, ctypes.c_uint8, 0), name)  # noqa: B023
            assert seen(error) == faulted(at, 0, region.reason, WRITE)
        first = region.address.align_down()
        for at in (first - 1, first - PAGE_SIZE, first - 15 * PAGE_SIZE):
            error = fault_of(lambda: uaccess.copy_from_user(at, 1), name)  # noqa: B023
            assert seen(error) == faulted(at, 0, FaultReason.NOT_PERMITTED, READ)
        after = first + PAGE_SIZE
        assert seen(fault_of(lambda: uaccess.copy_from_user(after, 1), name)) == faulted(after, 0, region.reason, READ)


@pytest.mark.parametrize("align", [1, 2, 4, 8, 16, 64, PAGE_SIZE // 2, PAGE_SIZE])
def test_aligned_data_ends_at_the_last_place_before_the_edge(align: int) -> None:
    """Its address is a multiple, zeros fill what is left, less than one multiple, and the byte at the edge is bad."""
    for size in (*range(20), align - 1, align, align + 1, 2 * align + 3, PAGE_SIZE + 1):
        data = pattern(size)
        with guard_page_after(data, align) as region:
            padding = region.edge - region.address - size
            assert region.address.is_aligned(align)
            assert 0 <= padding < align
            assert region.edge.is_aligned()
            whole = size + padding
            assert uaccess.copy_from_user(region.address, whole) == data + bytes(padding)
            error = fault_of(lambda: uaccess.copy_from_user(region.address, whole + 1), "read")  # noqa: B023
            assert seen(error) == faulted(region.edge, whole, FaultReason.NOT_PERMITTED, READ)


@pytest.mark.parametrize("size", [1, 21, PAGE_SIZE, 2 * PAGE_SIZE + 1])
def test_straddling_data_goes_on_beyond_the_edge(size: int) -> None:
    """Just the bytes before the edge can be read; the rest is there too, for whoever makes its pages readable."""
    data = pattern(size)
    for good in {0, 1, size // 2, size - 1, size}:
        with straddling(data, good) as region:
            assert (region.address, region.size) == (region.edge - good, good)
            assert uaccess.copy_from_user(region.address, size + 1, partial=True) == data[:good]
            error = fault_of(lambda: uaccess.copy_from_user(region.address, size + 1), "read")
            assert seen(error) == faulted(region.edge, good, FaultReason.NOT_PERMITTED, READ)
            protect_memory(region.edge, VirtAddr(size).align_up(), READ)
            assert peek(region.address, size) == data


def test_read_only_data_stays_readable_to_its_end_and_unwritten() -> None:
    """Each of its bytes refuses to be written, and reading one more than there are faults behind the last."""
    with read_only(DATA) as region:
        assert region.edge == region.address
        view, end = region.view(), region.address + len(DATA)
        for position in range(len(DATA)):
            at = region.address + position
            error = fault_of(lambda: view.__setitem__(position, 0), "write")  # noqa: B023
            assert seen(error) == faulted(at, 0, FaultReason.NOT_PERMITTED, WRITE)
        error = fault_of(lambda: uaccess.copy_from_user(region.address, len(DATA) + 1), "read")
        assert seen(error) == faulted(end, len(DATA), FaultReason.NOT_PERMITTED, READ)
        assert view[:] == DATA


def test_read_only_data_is_unwritten_by_c() -> None:
    """A foreign function faults at each of its bytes."""
    with read_only(DATA) as region:
        for position in range(len(DATA)):
            at = region.address + position
            found = seen(call_fault(LIBC.memset, at, 0, 1))
            assert found == faulted(as_told(at), 0, FaultReason.NOT_PERMITTED, WRITE)
        assert region.view()[:] == DATA


def test_memory_without_access_cannot_be_read_anywhere() -> None:
    """Each byte of no_access, its first and its last, faults for reading."""
    size = 2 * PAGE_SIZE + 1
    with no_access(size) as region:
        assert (region.address, region.size) == (region.edge, 0)
        for at in (region.edge, region.edge + 1, region.edge + PAGE_SIZE, region.edge + size - 1):
            error = fault_of(lambda: uaccess.copy_from_user(at, 1), "read")  # noqa: B023
            assert seen(error) == faulted(at, 0, FaultReason.NOT_PERMITTED, READ)


def test_a_hole_is_a_page_where_nothing_is() -> None:
    """Its address is that of a page, and an access there faults as in unmapped memory."""
    with hole() as region:
        assert region.address.is_aligned()
        assert (region.address, region.size) == (region.edge, 0)
        error = fault_of(lambda: uaccess.copy_from_user(region.edge, 1), "read")
        assert seen(error) == faulted(region.edge, 0, FaultReason.NOT_MAPPED, READ)


@pytest.mark.parametrize("tries", [1, _regions._TRIES])
def test_a_hole_is_not_made_where_something_is(tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where places that were chosen are taken another is, at last by the system; what was there stays."""
    taken = map_memory(mmap.ALLOCATIONGRANULARITY, READ_WRITE)
    poke(taken, DATA)
    chosen = iter([taken] * tries)

    class Choice(random.SystemRandom):
        def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
            return next(chosen, None) or super().randrange(start, stop, step)

    monkeypatch.setattr(random, "SystemRandom", Choice)
    with hole() as region:
        assert list(chosen) == []
        error = fault_of(lambda: uaccess.copy_from_user(region.edge, 1), "read")
        assert seen(error) == faulted(region.edge, 0, FaultReason.NOT_MAPPED, READ)
        assert peek(taken, len(DATA)) == DATA
    unmap_memory(taken, mmap.ALLOCATIONGRANULARITY)


def test_a_hole_is_none_for_c_too() -> None:
    """A foreign function faults there as in unmapped memory."""
    with hole() as region:
        assert seen(call_fault(LIBC.strlen, region)) == faulted(region.edge, 0, FaultReason.NOT_MAPPED, READ)


def test_a_non_canonical_address_is_the_one_that_faults() -> None:
    """A guarded access names it."""
    with non_canonical() as region:
        assert (region.address, region.size) == (region.edge, 0)
        assert region.view()[:] == b""
        error = fault_of(lambda: uaccess.copy_from_user(region.edge, 8), "read")
        assert (error.address, error.reason) == (region.edge, region.reason)
        assert region.reason is FaultReason.NOT_CANONICAL


def test_of_a_non_canonical_address_in_c_the_reason_is_told() -> None:
    """Of a foreign function's fault the processor tells no more."""
    with non_canonical() as region:
        assert call_fault(LIBC.strlen, region).reason is FaultReason.NOT_CANONICAL


def test_without_such_an_address_there_is_no_region() -> None:
    """Where the processor can form any address, ENOTSUP."""
    with pytest.raises(OSError, match="no such address") as caught, non_canonical():
        pass
    assert caught.value.errno == errno.ENOTSUP


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("no_access", "hole")])
def test_what_is_used_after_its_block_faults(name: str) -> None:
    """A view taken during the block, and one taken afterwards, fault in unmapped memory."""
    with MAKERS[name](DATA) as region:
        early = region.view()
    for view in (early, region.view()):
        error = fault_of(lambda: view[:], name)  # noqa: B023
        assert seen(error) == faulted(region.address, 0, FaultReason.NOT_MAPPED, READ)
    assert repr(region)


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("no_access", "hole")])
def test_what_c_uses_after_its_block_faults(name: str) -> None:
    """A foreign function faults in unmapped memory too."""
    with MAKERS[name](DATA) as region:
        pass
    assert call_fault(LIBC.memset, region, 0, 1).reason is FaultReason.NOT_MAPPED


def test_what_is_written_to_a_view_is_in_the_memory() -> None:
    """Assignments go through to the good bytes, and not to the object that the data came from."""
    data = bytearray(DATA)
    for make in (guard_page_after, guard_page_before, *TRUNCATED):
        with make(data) as region:
            region.view()[-4:] = b"EDGE"
            assert peek(region.address, region.size) == DATA[:-4] + b"EDGE"
        assert data == DATA
        data.append(0)  # nothing holds its buffer
        data.pop()


BUFFERS: dict[str, Any] = {
    "bytes": DATA,
    "bytearray": bytearray(DATA),
    "memoryview": memoryview(b"-" + DATA)[1:],
    "array": array.array("I", range(9)),
    "two dimensions": memoryview(bytearray(range(24))).cast("h", (3, 4)),
    "structure": (ctypes.c_uint32 * 3)(1, 2, 3),
    "mmap": mmap.mmap(-1, PAGE_SIZE + 1),
}


@pytest.mark.parametrize("name", BUFFERS)
def test_any_contiguous_buffer_is_data(name: str) -> None:
    """Its bytes are laid out as they lie in memory, whatever its items and dimensions."""
    data = BUFFERS[name]
    expected = memoryview(data).tobytes()
    for make in (guard_page_after, guard_page_before, read_only, *TRUNCATED):
        with make(data) as region:
            assert region.view()[:] == expected
    with straddling(data, len(expected)) as region:
        assert region.view()[:] == expected


def test_a_region_is_passed_as_a_pointer() -> None:
    """Foreign functions take it with and without argtypes."""
    with guard_page_after(b"text\0") as region:
        assert [strlen(region) for strlen in strlens()] == [4] * 4


def test_a_region_is_passed_to_a_guarded_call_as_a_pointer() -> None:
    """So do guarded calls, empty ones too."""
    with guard_page_after(b"text\0") as region:
        assert [guarded_call(strlen, region) for strlen in strlens()] == [4] * 4
    with guard_page_after(b"") as region:
        assert call_fault(LIBC.strlen, region).address == region.edge


def strlens() -> list[Any]:
    """Return strlen() without argtypes, and with those that take a pointer."""
    made: list[Any] = [c_library().strlen for _ in range(4)]
    made[0].argtypes, made[1].argtypes = [ctypes.c_void_p], [ctypes.c_char_p]
    made[2].argtypes = [ctypes.POINTER(ctypes.c_char)]
    return made


def straddling_nothing(data: Any) -> object:
    """Straddle none of some data."""
    return straddling(data, 0)


TAKE_DATA = (guard_page_after, guard_page_before, read_only, truncated_file, straddling_nothing)
NO_DATA = ("text", None, 5, [1, 2])
SCATTERED = (memoryview(DATA)[::2], memoryview(array.array("d", range(16)))[1::4])
WRONG: list[tuple[Callable[..., object], tuple[Any, ...], type[Exception]]] = [
    *((make, (data,), TypeError) for make in TAKE_DATA for data in NO_DATA),
    *((make, (data,), BufferError) for make in TAKE_DATA for data in SCATTERED),
    *((guard_page_after, (DATA, align), ValueError) for align in (0, -8, 3, 2 * PAGE_SIZE, 2**70)),
    *((guard_page_after, (DATA, align), TypeError) for align in (1.0, None, "8")),
    *((straddling, (DATA, at), ValueError) for at in (-1, len(DATA) + 1, 2**70)),
    *((straddling, (DATA, at), TypeError) for at in (1.0, None, "1")),
    *((no_access, (size,), ValueError) for size in (-1, 2**63, 2**64, 2**64 + 1)),
    *((no_access, (size,), TypeError) for size in (1.0, None, "1", DATA)),
]


@needs_maps
@pytest.mark.parametrize(("make", "arguments", "error"), WRONG)
@uncollected()
def test_wrong_arguments_are_refused_when_they_are_passed(
    make: Callable[..., object], arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    """The call itself raises, before a block could be entered, and maps nothing."""
    before = left()
    with pytest.raises(error) as caught:
        make(*arguments)
    assert type(caught.value) is error
    assert left() == before


def test_integer_like_arguments_are_taken() -> None:
    """What has __index__ will do as an alignment, an offset and a size."""
    with guard_page_after(DATA, Indexed(8)) as region:  # type: ignore[arg-type]
        assert region.address.is_aligned(8)
    with straddling(DATA, Indexed(5)) as region, no_access(Indexed(5)):  # type: ignore[arg-type]
        assert region.view()[:] == DATA[:5]


def test_a_region_is_immutable_and_goes_nowhere() -> None:
    """Nothing can be set on it, and it is neither copied nor pickled."""
    with guard_page_after(DATA) as region:
        for name in ("address", "size", "edge", "reason", "other"):
            with pytest.raises(AttributeError):
                setattr(region, name, 1)
        for spread in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="can be neither copied nor pickled"):
                spread(region)
        assert type(region.address) is type(region.edge) is VirtAddr


def test_a_region_says_where_it_is_and_what_is_beyond() -> None:
    """Its repr has the size, the address, the edge and the reason."""
    region = Region(0x1000, 1, 0x1001, FaultReason.BEYOND_END)
    assert repr(region) == "<Region of 1 byte at 0x1000, edge 0x1001: beyond the end of the file>"
    region = Region(0x1000, 5, 0xFFF, FaultReason.NOT_PERMITTED)
    assert repr(region) == "<Region of 5 bytes at 0x1000, edge 0xfff: not permitted>"
