# SPDX-License-Identifier: MIT
"""The library that guarded calls call, and what surrounds a call."""

import contextlib
import ctypes
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers_compiled import FILES

from axptr_native.call import CallFaultError, guarded_call

CALLEE = FILES.format("callee")
BAD = ctypes.c_void_p(16)
NON_CANONICAL = 1 << 60

SS_DISABLE = 2
SS_AUTODISARM = ctypes.c_int(1 << 31).value


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


class Converter:
    """An argtype that is no ctype: makes something else of any argument."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self.from_param = make


class Standing:
    """Stands for something else."""

    def __init__(self, value: Any) -> None:
        self._as_parameter_ = value


class Surroundings(ctypes.Structure):
    """``surroundings`` of ``native/callee.h``: what a thread has that a fault must not change."""

    _fields_ = (
        ("mask", ctypes.c_uint64),
        ("stack", ctypes.c_void_p),
        ("stack_size", ctypes.c_size_t),
        ("stack_flags", ctypes.c_int),
        ("rounding", ctypes.c_int),
        ("exceptions", ctypes.c_int),
        ("mxcsr", ctypes.c_uint32),
        ("x87_control", ctypes.c_uint16),
        ("x87_tag", ctypes.c_uint16),
    )


def surroundings(library: Any) -> dict[str, int]:
    """Return what surrounds this thread's code now; unguarded."""
    noted = Surroundings()
    note = library.note_floats if sys.platform == "win32" else library.note_surroundings
    note(ctypes.byref(noted))
    return {name: getattr(noted, name) for name, _ in Surroundings._fields_}


@contextlib.contextmanager
def alternate_stack(library: Any, size: int, flags: int = 0) -> Iterator[int]:
    """Give this thread an alternate signal stack of its own, or none with SS_DISABLE, and its address."""
    memory = ctypes.create_string_buffer(max(size, 1))
    before = surroundings(library)
    assert library.put_up_stack(memory, ctypes.c_size_t(size), flags) == 0
    try:
        yield ctypes.addressof(memory)
    finally:
        stack, stack_size = ctypes.c_void_p(before["stack"]), ctypes.c_size_t(before["stack_size"])
        assert library.put_up_stack(stack, stack_size, before["stack_flags"]) == 0


def fault_of_call(function: Any, *args: Any) -> CallFaultError:
    """Return the fault of a guarded call; fail if there is none."""
    try:
        result = guarded_call(function, *args)
    except CallFaultError as error:
        return error
    pytest.fail(f"no fault, but {result!r:.100}")


def stub(address: int = 0) -> Any:
    """Return a function at an address where there is none: it faults if it is called."""
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)
