# SPDX-License-Identifier: MIT
"""Sweeps: an access over the edge is found at its byte, functions that make none pass, and reports say where."""

import array
import ctypes
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from helpers_memory import READ, Indexed, pattern, peek
from helpers_processor import BEGINS_EARLY, as_told
from helpers_python import let_go
from helpers_regions import KINDS, LIBC, MADE, left, needs_maps
from helpers_space import uncollected

from axptr_native import PAGE_SIZE, FaultError, FaultReason, guarded_call, uaccess
from axptr_native.testing import Region, SweepError, SweepKind, hole, sweep

AFTER, BEFORE = SweepKind.GUARD_PAGE_AFTER, SweepKind.GUARD_PAGE_BEFORE
REASONS = dict.fromkeys(SweepKind, FaultReason.NOT_PERMITTED) | {
    SweepKind.HOLE_AFTER: FaultReason.NOT_MAPPED,
    SweepKind.TRUNCATED_FILE: FaultReason.BEYOND_END,
}
DATA = b"hello there, how are you?" + bytes(range(0xE0, 0xE7))


class ShortError(Exception):
    """The data ends too early."""


def read(region: Region) -> bytes:
    """Return the data, as one should."""
    return uaccess.copy_from_user(region.address, region.size)


def records(*, checked: bool) -> Callable[[Region], list[bytes]]:
    """Return a parser of records, each a length and so many bytes; unchecked, it reads the byte behind the last."""

    def parse(region: Region) -> list[bytes]:
        found: list[bytes] = []
        at, end = region.address, region.address + region.size
        while not checked or at < end:
            length = uaccess.copy_from_user(at, 1)[0]
            if length == 0:
                return found
            if checked and at + 1 + length > end:
                raise ShortError
            found.append(uaccess.copy_from_user(at + 1, length))
            at += 1 + length
        return found

    return parse


RECORDS = [b"a", b"bcd", b"", b"efghijklm"]
PACKET = b"".join(bytes([len(record)]) + record for record in RECORDS if record)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_parser_without_a_check_faults_at_the_byte_that_is_missing(kind: SweepKind) -> None:
    """It faults at the edge for each beginning of a packet; the twin that checks says so, or returns the records."""
    ends = {0: 0, 2: 1, 6: 2, 16: 3}  # where records end, and how many there are up to there
    wrong, right = records(checked=False), records(checked=True)
    if kind is not BEFORE:
        for case in sweep(wrong, PACKET, kinds=kind):
            assert isinstance(case.error, FaultError), str(case)
            assert (case.error.address, case.error.reason) == (case.edge, REASONS[kind])
            assert case.edge == case.address + case.offset
    cases = list(sweep(right, PACKET, kinds=kind, raises=ShortError))
    assert [case.offset for case in cases] == list(range(len(PACKET) + 1))
    for case in cases:
        assert case.error is None or type(case.error) is ShortError, str(case)
        if kind is not BEFORE:
            complete = [record for record in RECORDS if record][: ends.get(case.offset, 0)]
            assert case.result == (complete if case.offset in ends else None), str(case)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_byte_too_many_in_c_is_found_at_the_edge(kind: SweepKind) -> None:
    """Memcpy of a byte more than there are faults at the edge in each case; of so many it copies them."""
    out = ctypes.create_string_buffer(len(DATA) + 1)
    early = int(kind is BEFORE)

    def copy(region: Region, more: int) -> bytes:
        guarded_call(LIBC.memcpy, out, region.address - early * more, region.size + more)
        return out.raw[: region.size]

    for number, case in enumerate(sweep(lambda region: copy(region, 1), DATA, kinds=kind)):
        assert isinstance(case.error, FaultError), str(case)
        assert (case.error.reason, case.error.access) == (REASONS[kind], READ)
        assert as_told(case.edge - BEGINS_EARLY * early) <= case.error.address <= as_told(case.edge)
        assert case.offset == number
    for number, case in enumerate(sweep(lambda region: copy(region, 0), DATA, kinds=kind)):
        expected = DATA[len(DATA) - number :] if kind is BEFORE else DATA[:number]
        assert (case.result, case.error) == (expected, None), str(case)


def test_a_string_function_without_a_limit_runs_over_every_end_before_the_terminator() -> None:
    """Strlen faults until the terminator is within the data, and strnlen nowhere."""
    for case in sweep(lambda region: guarded_call(LIBC.strlen, region), b"text\0more"):
        assert isinstance(case.error, FaultError) == (case.offset < 5), str(case)
        assert case.result == (None if case.offset < 5 else 4)
    for case in sweep(lambda region: guarded_call(LIBC.strnlen, region, region.size), b"text\0more"):
        assert (case.result, case.error) == (min(case.offset, 4), None), str(case)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("element", [1, 2, 4, 8, 3, 100])
def test_the_end_moves_by_whole_elements(kind: SweepKind, element: int) -> None:
    """Each case has so many elements of the data, on the right side of the edge, and none of what is left over."""
    data = pattern(43)
    whole = len(data) // element * element

    def look(region: Region) -> tuple[int, bytes]:
        assert region.reason is REASONS[kind]
        assert region.edge == (region.address - 1 if kind is BEFORE else region.address + region.size)
        return region.edge, region.view()[:]

    cases = list(sweep(look, data, kinds=kind, element=element))
    assert [case.offset for case in cases] == list(range(0, len(data) + 1, element))
    for case in cases:
        expected = data[whole - case.offset : whole] if kind is BEFORE else data[: case.offset]
        assert (case.kind, case.result) == (kind, (case.edge, expected))
        if element in (1, 2, 4, 8):
            assert case.address.is_aligned(element)


def test_all_ends_after_the_data_are_swept_unless_kinds_are_given() -> None:
    """Left out, kinds are all whose edge comes after; given, they are taken in their order, by name or member."""
    names = [str(kind) for kind in MADE]
    assert [name for name in names if name != "truncated_file"] == [
        "guard_page_after",
        "hole_after",
        "guard_page_before",
    ]
    kinds: list[tuple[dict[str, Any], list[str]]] = [
        ({}, names[:-1]),
        ({"kinds": MADE}, names),
        ({"kinds": names[::-1]}, names[::-1]),
        ({"kinds": iter([BEFORE, "hole_after"])}, ["guard_page_before", "hole_after"]),
        ({"kinds": "hole_after"}, ["hole_after"]),
        ({"kinds": BEFORE}, ["guard_page_before"]),
    ]
    for given, expected in kinds:
        cases = list(sweep(read, b"ab", **given))
        assert [str(case.kind) for case in cases] == [name for name in expected for _ in range(3)]


def test_no_data_is_one_case_of_nothing() -> None:
    """The function is called with an empty region, whose edge is bad."""
    for case in sweep(lambda region: uaccess.copy_from_user(region.edge, 1), b"", kinds=KINDS):
        assert isinstance(case.error, FaultError)
        assert (case.offset, case.error.address, case.error.reason) == (0, case.edge, REASONS[case.kind])
        assert "offset 0 of 0: read 1 byte beyond the edge" in str(case)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_data_of_many_pages_is_swept_to_its_end(kind: SweepKind) -> None:
    """4096 bytes, byte by byte, and five pages in steps: each case has its bytes, and its edge is bad."""

    def look(region: Region) -> bytes:
        assert uaccess.probe_read(region.edge, 1) == 0
        return read(region)

    for data, element in ((pattern(4096), 1), (pattern(5 * PAGE_SIZE + 7), 61)):
        whole = len(data) // element * element
        for number, case in enumerate(sweep(look, data, kinds=kind, element=element)):
            good = number * element
            assert case.result == (data[whole - good : whole] if kind is BEFORE else data[:good])
        assert number == len(data) // element


def as_array(data: bytearray) -> "array.array[int]":
    """Return an array of the bytes."""
    return array.array("B", data)


@pytest.mark.parametrize("make", [bytearray, memoryview, as_array])
def test_data_is_swept_as_it_was(make: Callable[..., Any]) -> None:
    """Any buffer will do; what becomes of it during the sweep does not matter, nor what is done to the region."""
    data = make(bytearray(DATA))

    def spoil(region: Region) -> bytes:
        found = read(region)
        uaccess.clear_user(region.address, region.size)
        memoryview(data)[:4] = b"gone"
        return found

    for kind in KINDS:
        memoryview(data)[:4] = DATA[:4]
        results = [case.result for case in sweep(spoil, data, kinds=kind)]
        sizes = range(len(DATA) + 1)
        assert results == [DATA[len(DATA) - size :] if kind is BEFORE else DATA[:size] for size in sizes]


def test_nothing_is_called_before_a_case_is_asked_for() -> None:
    """Each call is made when its case is, while the memory is what it was given."""
    calls: list[int] = []
    cases = sweep(lambda region: calls.append(region.size), DATA)
    assert calls == []
    for number, case in enumerate(itertools.islice(cases, 5)):
        assert calls == list(range(number + 1))
        assert peek(case.address, case.offset) == DATA[:number]


# ---- Exceptions. ----


def picky(region: Region) -> int:
    """Refuse data of three bytes."""
    if region.size == 3:
        raise ValueError("three")
    return region.size


@pytest.mark.parametrize("raises", [ValueError, Exception, (ValueError,), (KeyError, ValueError), BaseException])
def test_an_expected_exception_is_a_case(raises: Any) -> None:
    """The case has it, and the sweep goes on."""
    cases = list(sweep(picky, b"abcde", kinds=AFTER, raises=raises))
    assert [case.result for case in cases] == [0, 1, 2, None, 4, 5]
    assert [type(case.error) for case in cases if case.error] == [ValueError]
    assert str(cases[3]).splitlines()[0] == "guard_page_after, offset 3 of 5: raised ValueError: three"


@pytest.mark.parametrize("raises", [(), KeyError, (KeyError, ShortError)])
def test_an_exception_that_nobody_expects_comes_with_the_report(raises: Any) -> None:
    """SweepError is raised from it, says what the case does, and ends the sweep."""
    cases = sweep(picky, b"abcde", kinds="hole_after", raises=raises)
    assert [next(cases).offset for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SweepError) as caught:
        next(cases)
    assert str(caught.value) == (
        "hole_after, offset 3 of 5: raised ValueError: three\n"
        "0000  61 62 63|?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??  abc"
    )
    assert caught.value.case.error is caught.value.__cause__
    assert repr(caught.value.__cause__) == "ValueError('three')"
    assert list(cases) == []


def test_what_is_no_exception_of_the_function_comes_out_as_it_is() -> None:
    """KeyboardInterrupt is not wrapped, and SystemExit can be expected."""

    def interrupted(region: Region) -> None:
        raise KeyboardInterrupt if region.size else SystemExit(3)

    with pytest.raises(SystemExit):
        next(sweep(interrupted, b"a"))
    cases = sweep(interrupted, b"a", raises=SystemExit)
    assert isinstance(next(cases).error, SystemExit)
    with pytest.raises(KeyboardInterrupt):
        next(cases)


def test_faults_are_cases_even_if_they_are_no_memory_of_the_sweep() -> None:
    """A FaultError at any address, or in the good bytes, is a case, and says so."""

    def elsewhere(region: Region) -> None:
        with hole() as other:
            uaccess.get_user(other.edge if region.size else 0, ctypes.c_uint8)

    for case in sweep(elsewhere, b"ab", kinds=KINDS):
        assert isinstance(case.error, FaultError)
        assert f"offset {case.offset} of 2: read elsewhere\n{case.error}\n" in str(case)


# ---- What is left. ----


@needs_maps
@pytest.mark.parametrize("kind", KINDS, ids=str)
@uncollected()
def test_nothing_is_left_of_a_sweep(kind: SweepKind) -> None:
    """Run to its end, closed, abandoned with its last case kept, or ended by an exception: the memory is gone."""
    let_go()
    before = left()
    beyond: Callable[[Region], object] = lambda region: uaccess.copy_from_user(region.edge, 1)  # noqa: E731
    kept: list[object] = list(sweep(beyond, DATA, kinds=kind))
    assert left() == before
    cases = sweep(beyond, DATA, kinds=kind)
    kept.append(next(cases))
    assert left() != before
    del cases
    let_go()
    assert left() == before
    for end in (ShortError, KeyboardInterrupt):

        def fail(region: Region) -> None:
            if region.size == 2:
                raise end  # noqa: B023

        with pytest.raises((SweepError, KeyboardInterrupt)) as caught:
            list(sweep(fail, DATA, kinds=kind))
        kept.append(caught.value)
        assert left() == before
    sweep(beyond, DATA, kinds=kind)
    assert left() == before


WRONG: list[tuple[dict[str, Any], type[Exception]]] = [
    *(({"function": wrong}, TypeError) for wrong in (None, 5, b"")),
    *(({"data": wrong}, TypeError) for wrong in ("text", None, 5, [1])),
    ({"data": memoryview(DATA)[::2]}, BufferError),
    *(({"element": wrong}, ValueError) for wrong in (0, -1)),
    *(({"element": wrong}, TypeError) for wrong in (1.0, None, "1")),
    *(({"kinds": wrong}, ValueError) for wrong in ("hole", "", (), [], ["hole_after", "before"], [5], [None])),
    *(({"kinds": wrong}, TypeError) for wrong in (None, 5)),
    *(({"raises": wrong}, TypeError) for wrong in (None, 5, "ValueError", int, ValueError(), [ValueError])),
    *(({"raises": wrong}, TypeError) for wrong in ((ValueError, 5), ((ValueError,), KeyError))),
]


@needs_maps
@pytest.mark.parametrize(("wrong", "error"), WRONG)
@uncollected()
def test_wrong_arguments_are_refused_at_once(wrong: dict[str, Any], error: type[Exception]) -> None:
    """The call itself raises, before a case is asked for or anything is mapped."""
    arguments: dict[str, Any] = {"function": read, "data": DATA} | wrong
    before = left()
    with pytest.raises(error) as caught:
        sweep(**arguments)
    assert type(caught.value) is error
    assert left() == before


def test_a_kind_that_is_none_is_told_which_there_are() -> None:
    """The error lists the kinds; what has __index__ will do as an element."""
    with pytest.raises(ValueError, match=r"one of guard_page_after, hole_after, .*, guard_page_before, not 'edge'"):
        sweep(read, DATA, kinds=["edge"])
    assert len(list(sweep(read, DATA, kinds=AFTER, element=Indexed(8)))) == 5  # type: ignore[arg-type]
