# SPDX-License-Identifier: MIT
"""The library that guarded calls call, and what surrounds a call."""

import contextlib
import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from child import LONG

from axptr_native.call import CallFaultError, guarded_call

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
    """``surroundings`` of ``native/callee.c``: what a thread has that a fault must not change."""

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


def compile_callee(folder: Path) -> Path:
    """Compile ``native/callee.c`` and return the library; skip where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler: cc, gcc or clang")
    library = folder / "libcallee.so"
    source = Path(__file__).parent / "native" / "callee.c"
    command = [compiler, "-O1", "-shared", "-fPIC", "-pthread", "-o", str(library), str(source), "-lm"]
    subprocess.run(command, check=True, timeout=LONG)
    return library


def surroundings(library: Any) -> dict[str, int]:
    """Return what surrounds this thread's code now; unguarded."""
    noted = Surroundings()
    library.note_surroundings(ctypes.byref(noted))
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
