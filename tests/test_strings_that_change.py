# SPDX-License-Identifier: MIT
"""Strings that become shorter between the look for their end and the copy."""

from collections.abc import Iterator
from ctypes import c_char
from pathlib import Path
from typing import Any

import pytest
from child import check, run
from helpers_memory import good_memory, poke

from axptr_native import ProcessSpace, UserConstPtr, uaccess


@pytest.fixture
def text() -> Iterator[int]:
    """The address of a string of seven bytes."""
    with good_memory(1) as start:
        poke(start, b"changes\0")
        yield start


class Shortening:
    """An address that cuts the string there when it is looked at for the second time."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.looks = 0

    def __index__(self) -> int:
        self.looks += 1
        if self.looks == 2:
            poke(self.start + 2, b"\0")
        return self.start


def test_a_copied_string_ends_at_the_zero_that_was_copied(text: int) -> None:
    """strncpy_from_user gives no byte after a zero that came after the string was measured."""
    address: Any = Shortening(text)
    assert uaccess.strncpy_from_user(address, 64) == b"ch"
    assert address.looks == 2


def test_it_does_so_through_ctypes_too(tmp_path: Path) -> None:
    """The Python function that the builtin stands for gives the same."""
    code = """
from helpers_memory import good_memory, poke
from test_strings_that_change import Shortening
from axptr_native import uaccess
with good_memory(1) as start:
    poke(start, b"changes\\0")
    assert uaccess.strncpy_from_user(Shortening(start), 64) == b"ch"
"""
    check(run(code, cwd=tmp_path, environment={"AXPTR_CALLS": "ctypes"}))


class Lender:
    """Lends the process, and cuts the string when it is given back."""

    def __init__(self, start: int) -> None:
        self.start = start

    def with_addr_space(self, f: Any, /) -> Any:
        result = f(ProcessSpace())
        poke(self.start + 3, b"\0")
        return result


def test_a_text_ends_at_the_zero_that_was_copied(text: int) -> None:
    """get_as_str gives no character after a zero that came after the string was checked."""
    assert UserConstPtr[c_char](text).get_as_str(Lender(text)) == "cha"
