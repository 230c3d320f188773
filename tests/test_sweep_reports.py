# SPDX-License-Identifier: MIT
"""What the cases of a sweep say of themselves."""

import pickle
from ctypes import c_uint8

import pytest
from helpers_memory import READ, WRITE
from helpers_regions import KINDS

from axptr_native import PAGE_SIZE, FaultError, FaultReason, MappingFlags, VirtAddr, uaccess
from axptr_native.testing import Case, Region, SweepError, SweepKind, sweep

AFTER, BEFORE = SweepKind.GUARD_PAGE_AFTER, SweepKind.GUARD_PAGE_BEFORE
DATA = b"hello there, how are you?" + bytes(range(0xE0, 0xE7))


def report(kind: SweepKind, offset: int, reach: int = 0, *, content: bytes = DATA) -> list[str]:
    """Return the lines of a case's report, of a function that reads the byte so far beyond the edge."""
    step = -reach if kind is BEFORE else reach

    def touch(region: Region) -> object:
        return uaccess.copy_from_user(region.edge + step, 1)

    (case,) = [case for case in sweep(touch, content, kinds=kind) if case.offset == offset]
    first, error, *dump = str(case).splitlines()
    assert error == str(case.error)
    assert repr(case) == f"<Case {first}>"
    return [first, *dump]


def test_a_report_shows_the_bytes_before_the_edge() -> None:
    """Three rows at most, the edge marked wherever it is, and what is beyond it not shown."""
    assert report(AFTER, 0) == [
        "guard_page_after, offset 0 of 32: read 1 byte beyond the edge",
        "0000 |?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??",
    ]
    assert report(SweepKind.HOLE_AFTER, 5, 1) == [
        "hole_after, offset 5 of 32: read 2 bytes beyond the edge",
        "0000  68 65 6c 6c 6f|?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??  hello",
    ]
    assert report(AFTER, 17) == [
        "guard_page_after, offset 17 of 32: read 1 byte beyond the edge",
        "0000  68 65 6c 6c 6f 20 74 68 65 72 65 2c 20 68 6f 77  hello there, how",
        "0010  20|?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??",
    ]
    assert report(AFTER, 0x10004, content=bytes(0x10004) + b"x")[1:] == [
        "ffe0  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
        "fff0  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
        "10000  00 00 00 00|?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??  ....",
    ]


def test_a_report_of_an_edge_at_the_end_of_a_row_marks_it_there() -> None:
    """A page behind the end of a truncated file whose edge is between two rows."""
    assert report(SweepKind.TRUNCATED_FILE, 16, PAGE_SIZE) == [
        f"truncated_file, offset 16 of 32: read {PAGE_SIZE + 1} bytes beyond the edge",
        "0000  68 65 6c 6c 6f 20 74 68 65 72 65 2c 20 68 6f 77| hello there, how",
    ]


def test_a_report_of_an_edge_before_shows_the_bytes_after_it() -> None:
    """Positions are those in the data, of which the region has the end."""
    assert report(BEFORE, 0) == ["guard_page_before, offset 0 of 32: read 1 byte beyond the edge", "0020 |"]
    assert report(BEFORE, 5, 7) == [
        "guard_page_before, offset 5 of 32: read 8 bytes beyond the edge",
        "0010  ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ??|e2 e3 e4 e5 e6             .....",
    ]
    assert report(BEFORE, 32) == [
        "guard_page_before, offset 32 of 32: read 1 byte beyond the edge",
        "0000 |68 65 6c 6c 6f 20 74 68 65 72 65 2c 20 68 6f 77  hello there, how",
        "0010  20 61 72 65 20 79 6f 75 3f e0 e1 e2 e3 e4 e5 e6   are you?.......",
    ]
    assert report(BEFORE, 3, content=b"abcde") == [
        "guard_page_before, offset 3 of 5: read 1 byte beyond the edge",
        "0000  ?? ??|63 64 65                                     cde",
    ]


def headline(error: BaseException | None, result: object = None, kind: SweepKind = AFTER) -> str:
    """Return the first line of the report of five good bytes at 0x20000."""
    edge = 0x1FFFF if kind is BEFORE else 0x20005
    case = Case(kind, Region(0x20000, 5, edge, FaultReason.NOT_PERMITTED), b"hello there", result, error)
    first = str(case).splitlines()[0]
    return first.removeprefix(f"{kind}, offset 5 of 11: ")


@pytest.mark.parametrize(
    ("kind", "address", "access", "expected"),
    [
        (AFTER, 0x20005, WRITE, "write 1 byte beyond the edge"),
        (AFTER, 0x20006, MappingFlags.EXECUTE, "execute 2 bytes beyond the edge"),
        (AFTER, 0x20004, READ, "read at byte 4 of the good ones"),
        (AFTER, 0x20000, WRITE, "write at byte 0 of the good ones"),
        (AFTER, 0x1FFFF, READ, "read elsewhere"),
        (AFTER, 0x20005 + 16 * PAGE_SIZE, READ, "read elsewhere"),
        (AFTER, -1, READ, "read elsewhere"),
        (BEFORE, 0x1FFFF, READ, "read 1 byte beyond the edge"),
        (BEFORE, 0x1FFF0, WRITE, "write 16 bytes beyond the edge"),
        (BEFORE, 0x20000, READ, "read at byte 0 of the good ones"),
        (BEFORE, 0x20005, READ, "read elsewhere"),
        (BEFORE, 0, READ, "read elsewhere"),
    ],
)
def test_a_fault_is_told_from_the_edge(kind: SweepKind, address: int, access: MappingFlags, expected: str) -> None:
    """Beyond it by so many bytes, at one of the good ones, or elsewhere."""
    assert headline(FaultError(address, access, FaultReason.INJECTED), kind=kind) == expected


def test_a_case_without_a_fault_tells_its_result() -> None:
    """What was returned is shown, as far as it is short; so is what was raised."""
    assert headline(None, {"a": 1}) == "returned {'a': 1}"
    assert headline(None, "x" * 1000) == "returned '" + "x" * 99
    assert headline(EOFError("at 3")) == "raised EOFError: at 3"


def test_cases_and_their_errors_go_to_other_processes() -> None:
    """Pickled, a case and a SweepError say the same, and have the same fields."""

    def divide(region: Region) -> float:
        return 1 / (4 - region.size) + uaccess.get_user(region.edge, c_uint8)  # type: ignore[no-any-return]

    for case in sweep(divide, DATA[:3], kinds=KINDS):
        twin = pickle.loads(pickle.dumps(case))
        assert str(twin) == str(case)
        assert (twin.kind, twin.offset, twin.address, twin.edge) == (case.kind, case.offset, case.address, case.edge)
        assert type(twin.edge) is VirtAddr
    with pytest.raises(SweepError, match="ZeroDivisionError") as caught:
        list(sweep(divide, DATA))
    error = pickle.loads(pickle.dumps(caught.value))
    assert (type(error), str(error)) == (SweepError, str(caught.value))
