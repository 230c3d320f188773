# SPDX-License-Identifier: MIT
"""Addresses, ranges and flags: values that behave as one expects of values."""

import copy
import mmap
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from helpers_examples import examples
from hypothesis import given
from hypothesis import strategies as st

from axptr_native import PAGE_SIZE, MappingFlags, VirtAddr, VirtAddrRange

addresses = st.integers(-(2**65), 2**65)
alignments = st.integers(0, 40).map(lambda shift: 1 << shift)
checked = examples(100)


def test_page_size_is_the_system_s_and_a_power_of_two() -> None:
    """PAGE_SIZE is what mmap says."""
    assert PAGE_SIZE == mmap.PAGESIZE
    assert PAGE_SIZE & (PAGE_SIZE - 1) == 0 < PAGE_SIZE


def test_an_address_is_an_int_that_shows_in_hexadecimal() -> None:
    """It equals and hashes as its int, prints in hexadecimal, and formats as an int does."""
    address = VirtAddr(0x7F00)
    assert isinstance(address, int)
    assert address == 0x7F00
    assert hash(address) == hash(0x7F00)
    assert {0x7F00: "found"}[address] == "found"
    assert str(address) == "0x7f00"
    assert repr(address) == "VirtAddr(0x7f00)"
    assert f"{address:#x} {address:d}" == "0x7f00 32512"
    assert repr(VirtAddr(-1)) == "VirtAddr(-0x1)"
    assert sorted([VirtAddr(3), VirtAddr(1), VirtAddr(2)]) == [1, 2, 3]


def test_moving_an_address_gives_an_address_and_a_difference_an_int() -> None:
    """Adding and subtracting bytes keeps VirtAddr, from both sides; subtracting an address does not."""
    address = VirtAddr(0x1000)
    assert type(address + 5) is type(5 + address) is type(address - 5) is VirtAddr
    assert (address + 5, 5 + address, address - 5) == (0x1005, 0x1005, 0xFFB)
    assert type(VirtAddr(9) - VirtAddr(4)) is int
    assert VirtAddr(9) - VirtAddr(4) == 5
    assert VirtAddr(4) - VirtAddr(9) == -5
    for wrong in ("1", None, [1]):
        with pytest.raises(TypeError):
            address + wrong  # type: ignore[operator]
        with pytest.raises(TypeError):
            address - wrong  # type: ignore[operator]


class Three:
    """An integer of somebody else's."""

    def __index__(self) -> int:
        return 3


class Column:
    """Something that addresses can be added to, as arrays can."""

    def __radd__(self, other: int) -> str:
        return f"column of {other}"

    __rsub__ = __radd__


def test_an_address_is_moved_by_integers_only() -> None:
    """Whatever has an index moves it; fractions are TypeError, where int gives a fraction; others have their say."""
    address: Any = VirtAddr(0x1000)
    assert (address + Three(), address - Three()) == (0x1003, 0xFFD)
    assert type(address + Three()) is type(address - Three()) is VirtAddr
    assert type(address - True) is VirtAddr
    for fraction in (1.5, 2.0, float("nan"), Fraction(1, 2), Decimal(1), 1j):
        with pytest.raises(TypeError, match="whole bytes"):
            address + fraction
        with pytest.raises(TypeError, match="whole bytes"):
            address - fraction
    assert address + Column() == address - Column() == "column of 0x1000"


@checked
@given(value=addresses, align=alignments)
def test_alignment_agrees_with_division(value: int, align: int) -> None:
    """align_down, align_up, align_offset and is_aligned are floor, ceiling, remainder and remainder zero."""
    address = VirtAddr(value)
    assert address.align_down(align) == value // align * align
    assert address.align_up(align) == -(-value // align) * align
    assert address.align_offset(align) == value % align
    assert address.is_aligned(align) == (value % align == 0)
    assert type(address.align_down(align)) is type(address.align_up(align)) is VirtAddr


def test_alignment_is_to_pages_unless_told() -> None:
    """Without an argument the alignment is PAGE_SIZE."""
    address = VirtAddr(3 * PAGE_SIZE + 1)
    assert address.align_down() == 3 * PAGE_SIZE
    assert address.align_up() == 4 * PAGE_SIZE
    assert address.align_offset() == 1
    assert not address.is_aligned()
    assert address.align_down().is_aligned()


@pytest.mark.parametrize("align", [0, -1, -4096, 3, 6, 4095, 2**40 + 1])
def test_an_alignment_that_is_no_power_of_two_is_refused(align: int) -> None:
    """ValueError from all four, even for address 0."""
    for address in (VirtAddr(0), VirtAddr(4096)):
        for method in (address.align_down, address.align_up, address.align_offset, address.is_aligned):
            with pytest.raises(ValueError, match="power of two"):
                method(align)


def test_values_survive_copying_and_pickling() -> None:
    """Addresses, ranges and flags come back equal and of their type."""
    for value in (VirtAddr(2**63), VirtAddrRange(1, 2**64), MappingFlags.READ | MappingFlags.EXECUTE):
        for other in (
            copy.copy(value),
            copy.deepcopy(value),
            *(pickle.loads(pickle.dumps(value, p)) for p in range(6)),
        ):
            assert other == value
            assert type(other) is type(value)


def test_a_range_holds_start_up_to_end() -> None:
    """size, membership and is_empty follow from start and end; both are VirtAddr."""
    span = VirtAddrRange(10, 13)
    assert (span.start, span.end, span.size) == (10, 13, 3)
    assert type(span.start) is type(span.end) is VirtAddr
    assert [address for address in range(8, 15) if address in span] == [10, 11, 12]
    assert not span.is_empty
    assert VirtAddrRange(10, 10).is_empty
    assert 10 not in VirtAddrRange(10, 10)
    assert VirtAddrRange.from_start_size(10, 3) == span
    assert repr(span) == "VirtAddrRange(0xa, 0xd)"


def test_a_range_that_ends_before_its_start_is_refused() -> None:
    """ValueError from the constructor and for a negative size."""
    with pytest.raises(ValueError, match="before its start"):
        VirtAddrRange(10, 9)
    with pytest.raises(ValueError, match="before its start"):
        VirtAddrRange.from_start_size(10, -1)


@pytest.mark.parametrize("wrong", [1.0, 1.5, "1", b"1", None, Fraction(1), [1]])
def test_a_range_is_made_of_integers(wrong: Any) -> None:
    """Anything else is TypeError at either end; what has an index is taken for it."""
    for start, end in ((wrong, 9), (1, wrong), (wrong, wrong)):
        with pytest.raises(TypeError):
            VirtAddrRange(start, end)
        with pytest.raises(TypeError):
            VirtAddrRange.from_start_size(start, end)
    assert VirtAddrRange(Three(), 9) == VirtAddrRange(3, 9)  # type: ignore[arg-type]


def test_a_range_is_an_immutable_value() -> None:
    """Equal ranges are one key; a range equals nothing else; nothing in it can be set."""
    span = VirtAddrRange(1, 5)
    assert len({span, VirtAddrRange(1, 5), VirtAddrRange(1, 6), VirtAddrRange(0, 5)}) == 3
    assert span != (1, 5)
    assert span != VirtAddrRange(2, 5)
    for name in ("start", "end", "size", "other"):
        with pytest.raises(AttributeError):
            setattr(span, name, 3)
    assert (span.start, span.end) == (1, 5)


@checked
@given(numbers=st.tuples(*[st.integers(0, 12)] * 4))
def test_containment_and_overlap_agree_with_sets(numbers: tuple[int, int, int, int]) -> None:
    """contains_range is the subset relation, overlaps a common byte, for ranges that are not empty."""
    first = VirtAddrRange(*sorted(numbers[:2]))
    second = VirtAddrRange(*sorted(numbers[2:]))
    bytes_of = [set(range(span.start, span.end)) for span in (first, second)]
    if not first.is_empty and not second.is_empty:
        assert first.overlaps(second) == second.overlaps(first) == bool(bytes_of[0] & bytes_of[1])
        assert first.contains_range(second) == (bytes_of[1] <= bytes_of[0])
    assert first.contains_range(first)


def test_an_empty_range_overlaps_nothing() -> None:
    """There is no byte in it, wherever it lies."""
    whole = VirtAddrRange(0, 10)
    for at in (0, 5, 10, 20):
        assert not whole.overlaps(VirtAddrRange(at, at)), at
        assert not VirtAddrRange(at, at).overlaps(whole), at


def test_flags_combine_and_name_themselves() -> None:
    """READ, WRITE and EXECUTE are three bits with axptr's values."""
    flags = MappingFlags.READ | MappingFlags.WRITE
    assert [int(flag) for flag in (MappingFlags.READ, MappingFlags.WRITE, MappingFlags.EXECUTE)] == [1, 2, 4]
    assert MappingFlags.WRITE in flags
    assert MappingFlags.EXECUTE not in flags
    assert flags & MappingFlags.WRITE == MappingFlags.WRITE
    assert MappingFlags(7) == flags | MappingFlags.EXECUTE
    assert not MappingFlags(0)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (MappingFlags(0), "0"),
        (MappingFlags.READ, "READ"),
        (MappingFlags.WRITE | MappingFlags.READ, "READ|WRITE"),
        (MappingFlags(7), "READ|WRITE|EXECUTE"),
        (MappingFlags(8), "0x8"),
        (MappingFlags(9), "READ|0x8"),
    ],
)
def test_flags_show_alike_on_every_python(flags: MappingFlags, text: str) -> None:
    """Text and repr name the flags in order, and a format makes a number of them."""
    assert str(flags) == f"{flags}" == text
    assert repr(flags) == (f"<MappingFlags.{text}: {int(flags)}>" if flags else "<MappingFlags: 0>")
    assert f"{flags:#x} {flags:d}" == f"{int(flags):#x} {int(flags)}"
