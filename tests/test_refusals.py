# SPDX-License-Identifier: MIT
"""What is refused where something else refuses it first, most of the time."""

import ctypes
import errno
from pathlib import Path

import pytest

from axptr_native import PAGE_SIZE, AddrSpace
from axptr_native._native import ADDRESS_MAX, Caller, Fault, Handler, lib
from axptr_native._symbols import _search_elf
from axptr_native.errors import FaultReason
from axptr_native.flags import MappingFlags


@pytest.mark.parametrize(
    ("to", "start", "address", "access"),
    [
        (0, ADDRESS_MAX, ADDRESS_MAX, MappingFlags.READ),
        (ADDRESS_MAX - 1, 0, ADDRESS_MAX - 1, MappingFlags.WRITE),
    ],
)
def test_a_span_of_a_copy_that_leaves_the_address_space_is_refused(
    to: int, start: int, address: int, access: MappingFlags
) -> None:
    """Either span is refused before the other is touched, and the record says which."""
    fault = Fault()
    assert lib.axp_copy_in_user(to, start, 16) == -errno.EFAULT
    assert lib.axp_take_fault(fault) == 0
    assert (fault.address, fault.access, fault.reason) == (address, access.value, FaultReason.OUT_OF_RANGE.value)
    assert (fault.transferred, fault.signal) == (0, 0)


@pytest.mark.parametrize("probe", ["axp_probe_read", "axp_probe_write"])
def test_a_probe_that_leaves_the_address_space_is_refused(probe: str) -> None:
    """The span is refused, and nothing is said to be accessible."""
    accessible, fault = ctypes.c_void_p(7), Fault()
    assert getattr(lib, probe)(ADDRESS_MAX, 2, accessible) == -errno.EFAULT
    assert lib.axp_take_fault(fault) == 0
    assert (fault.reason, accessible.value) == (FaultReason.OUT_OF_RANGE.value, 7)


def test_nothing_is_copied_between_any_two_addresses() -> None:
    """A copy of no bytes succeeds, whatever the addresses."""
    assert lib.axp_copy_in_user(ADDRESS_MAX, 0, 0) == 0


def test_a_width_that_no_word_has_is_refused() -> None:
    """Elements are of 1, 2, 4 or 8 bytes."""
    assert lib.axp_strnlen_user(0, 3, 0, ctypes.c_void_p()) == -errno.EINVAL


def test_a_result_and_a_signal_that_there_are_not_are_refused() -> None:
    """There are four kinds of results, and two signals."""
    assert lib.axp_caller_of(4, Caller()) == -errno.EINVAL
    assert lib.axp_handler_at(1, 0, Handler()) == -errno.EINVAL


def test_what_are_no_mapping_flags_is_refused(space: AddrSpace) -> None:
    """A number is not taken for flags, and nothing is mapped."""
    with pytest.raises(TypeError, match="MappingFlags are required, not 3"):
        space.map_alloc(None, PAGE_SIZE, 3)  # type: ignore[arg-type]
    assert list(space.areas()) == []


def test_a_file_that_is_no_elf_has_no_symbols() -> None:
    """An image of another kind is not searched."""
    assert _search_elf(bytes(128), 0, 0) is None


def test_an_address_outside_every_function_has_no_symbol(hostile_library: Path) -> None:
    """The library's first address, and those past its end, are in no function; others are."""
    image, base = hostile_library.read_bytes(), 0x10000
    found = [_search_elf(image, base, base + at) for at in range(0, len(image), 64)]
    assert "hostile_send_later" in found
    assert found[0] is _search_elf(image, base, base + (1 << 30)) is None
