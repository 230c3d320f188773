# SPDX-License-Identifier: MIT
"""Bugs that were planted are found at their byte, and what is right passes the same test."""

import ctypes
from typing import Any

import pytest
from helpers_compiled import FILES, compile_library
from helpers_memory import READ, WRITE, Seen, faulted, seen
from helpers_planted import BEFORE, PLANTED, Planted
from helpers_processor import as_told

from axptr_native import FaultReason
from axptr_native.call import CallFaultError, guarded_call
from axptr_native.testing import Case, Region, SweepKind, guard_page_after, read_only, sweep

REASONS = {
    SweepKind.GUARD_PAGE_AFTER: FaultReason.NOT_PERMITTED,
    SweepKind.HOLE_AFTER: FaultReason.NOT_MAPPED,
    SweepKind.TRUNCATED_FILE: FaultReason.BEYOND_END,
    SweepKind.GUARD_PAGE_BEFORE: FaultReason.NOT_PERMITTED,
}

READER_SIZE = 2 * ctypes.sizeof(ctypes.c_void_p)

each_bug = pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``native_planted/planted.c``, compiled and loaded."""
    return ctypes.CDLL(str(compile_library("planted", tmp_path_factory.mktemp("planted"))))


def swept(library: Any, variant: str, planted: Planted) -> list[Case[int]]:
    """Sweep a function with its bug or without, over everything in the table."""
    function = library[f"{variant}_{planted.name}"]

    def call(region: Region) -> int:
        result: int = guarded_call(function, *planted.arguments(region))
        return result

    return list(sweep(call, planted.data, kinds=planted.kinds, element=planted.element))


def expected(planted: Planted, case: Case[int]) -> Seen | None:
    """Return the fault that a case must be, from the table."""
    beyond = planted.fault(case.offset)
    if beyond is None:
        return None
    address = case.edge - beyond if case.kind in BEFORE else case.edge + beyond
    return faulted(as_told(address), 0, REASONS[case.kind], planted.access)


@each_bug
def test_a_bug_is_found_at_its_byte_wherever_it_shows(library: Any, planted: Planted) -> None:
    """Every size at which the bug oversteps is the fault of that byte, and no other size is one."""
    cases = swept(library, "bug", planted)
    assert len(cases) == len(planted.kinds) * (len(planted.data) // planted.element + 1)
    for case in cases:
        found = seen(case.error) if isinstance(case.error, CallFaultError) else None
        assert found == expected(planted, case), str(case)
    assert any(case.error for case in cases)


@each_bug
def test_the_corrected_function_passes_the_same_sweep(library: Any, planted: Planted) -> None:
    """Without the bug, no size is a fault, and each result is right."""
    for case in swept(library, "good", planted):
        assert (case.result, case.error) == (planted.answer(case.offset), None), str(case)


def detach(library: Any, variant: str) -> tuple[Region, Any]:
    """Attach a reader to data, read a byte, detach it, and give the data's memory back."""
    reader = ctypes.create_string_buffer(READER_SIZE)
    with guard_page_after(b"data") as region:
        library.reader_attach(reader, region, ctypes.c_size_t(region.size))
        assert guarded_call(library.reader_next, reader) == ord("d")
        library[f"{variant}_detach"](reader)
    return region, reader


def test_a_use_of_what_was_given_back_is_found(library: Any) -> None:
    """A reader that should have forgotten its data reads the next byte of it where nothing is mapped."""
    region, reader = detach(library, "bug")
    with pytest.raises(CallFaultError) as caught:
        guarded_call(library.reader_next, reader)
    assert seen(caught.value) == faulted(as_told(region.address + 1), 0, FaultReason.NOT_MAPPED, READ)


def test_the_corrected_reader_has_nothing_left_to_use(library: Any) -> None:
    """A reader that has forgotten its data is at its end."""
    _, reader = detach(library, "good")
    assert guarded_call(library.reader_next, reader) == -1


def test_a_write_to_what_can_only_be_read_is_found(library: Any) -> None:
    """The first byte of a text that only looks as if it could be changed is the fault of a write, and stays."""
    copy = ctypes.create_string_buffer(16)
    with read_only(b"january\0") as region:
        with pytest.raises(CallFaultError) as caught:
            guarded_call(library.bug_capitalize, copy, region)
        assert seen(caught.value) == faulted(as_told(region.address), 0, FaultReason.NOT_PERMITTED, WRITE)
        assert (region.view()[:], copy.value) == (b"january\0", b"january")


def test_the_corrected_function_writes_to_the_copy(library: Any) -> None:
    """The copy begins with a capital, and the text stays."""
    copy = ctypes.create_string_buffer(16)
    with read_only(b"january\0") as region:
        guarded_call(library.good_capitalize, copy, region)
        assert (region.view()[:], copy.value) == (b"january\0", b"January")


def test_the_report_of_a_case_names_function_place_and_bytes(library: Any) -> None:
    """What an assertion shows is enough to find the line: the function, the access, its place, and the data."""
    planted = next(planted for planted in PLANTED if planted.name == "sum_options")
    case = next(case for case in swept(library, "bug", planted) if case.offset == 8)
    error = case.error
    assert isinstance(error, CallFaultError)
    assert error.symbol == f"bug_sum_options in {FILES.format('planted')}"
    assert str(case).splitlines() == [
        "guard_page_after, offset 8 of 17: read 1 byte beyond the edge",
        str(error),
        "0000  01 03 0a 14 1e 02 00 03|?? ?? ?? ?? ?? ?? ?? ??  ........",
    ]
