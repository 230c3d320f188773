# SPDX-License-Identifier: MIT
"""The builtins beside the Python functions that they stand for: the same functions to whoever looks, and no leaks."""

import contextlib
import copy
import ctypes
import errno
import gc
import inspect
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from child import clean_environment, run, run_command

from axptr_native import FaultError, FaultReason, GuardedView, MappingFlags, VirtAddr, _builtins, atomics, uaccess
from axptr_native._native import lib

OPERATIONS = [
    uaccess.copy_from_user,
    uaccess.copy_from_user_into,
    uaccess.copy_to_user,
    uaccess.get_user,
    uaccess.put_user,
    uaccess.strnlen_user,
    uaccess.strncpy_from_user,
    uaccess.find_in_user,
    uaccess.probe_read,
    uaccess.probe_write,
    atomics.load,
    atomics.store,
    atomics.exchange,
    atomics.compare_exchange,
    atomics.fetch_add,
    atomics.fetch_and,
    atomics.fetch_or,
    atomics.fetch_xor,
]

needs_builtins = pytest.mark.skipif(
    _builtins.call_path != "builtins", reason=f"calls go through {_builtins.call_path}: there are no builtins"
)

BAD = 8
"""In the page at 0, which no process has."""

copy_from_user: Any = uaccess.copy_from_user  # without its types: it is called wrongly on purpose

own = ctypes.create_string_buffer(b"text\0more" + bytes(55), 64)
HERE = ctypes.addressof(own)
into = bytearray(16)

CALLS: dict[str, Callable[[int], Any]] = {
    "copy_from_user": lambda at: uaccess.copy_from_user(at, 16),
    "copy_from_user_into": lambda at: uaccess.copy_from_user_into(at, into),
    "copy_to_user": lambda at: uaccess.copy_to_user(at, b"text\0more"),
    "get_user unsigned": lambda at: uaccess.get_user(at, ctypes.c_uint64),
    "get_user signed": lambda at: uaccess.get_user(at, ctypes.c_int16),
    "get_user float": lambda at: uaccess.get_user(at, ctypes.c_double),
    "get_user bool": lambda at: uaccess.get_user(at + 60, ctypes.c_bool),
    "get_user char": lambda at: uaccess.get_user(at, ctypes.c_char),
    "get_user pointer": lambda at: uaccess.get_user(at + 48, ctypes.c_void_p),
    "get_user unusual": lambda at: uaccess.get_user(at, ctypes.c_uint32.__ctype_be__),
    "put_user": lambda at: uaccess.put_user(at + 32, ctypes.c_int, -5),
    "put_user float": lambda at: uaccess.put_user(at + 32, ctypes.c_float, 2.5),
    "strnlen_user": lambda at: uaccess.strnlen_user(at, 64),
    "strncpy_from_user": lambda at: uaccess.strncpy_from_user(at, 64),
    "find_in_user": lambda at: uaccess.find_in_user(at, 64, b"more"),
    "find_in_user nothing": lambda at: uaccess.find_in_user(at, 64, b"less"),
    "load": lambda at: atomics.load(at, ctypes.c_int64),
    "store": lambda at: atomics.store(at + 32, ctypes.c_int64, 1 << 40),
    "exchange": lambda at: atomics.exchange(at + 40, ctypes.c_int, 7),
    "compare_exchange": lambda at: atomics.compare_exchange(at + 40, ctypes.c_int, 7, 8),
    "fetch_add": lambda at: atomics.fetch_add(at + 32, ctypes.c_uint8, -1),
    "by keyword": lambda at: uaccess.copy_from_user(addr=at, size=16),
}


def python_function(function: Any) -> Any:
    """Return what a builtin stands for."""
    maker = _builtins._maker
    assert maker is not None
    index, _ = maker._functions[f"{function.__module__.removeprefix('axptr_native.')}.{function.__name__}"]
    return ctypes.cast(maker.state.functions[index], ctypes.py_object).value


@needs_builtins
@pytest.mark.parametrize("function", OPERATIONS, ids=lambda function: function.__name__)
def test_a_builtin_looks_like_the_function_that_it_stands_for(function: Any) -> None:
    """It has the name, module, documentation and signature of the Python function, and copies and pickles alike."""
    assert inspect.isbuiltin(function)
    original = python_function(function)
    assert inspect.isfunction(original)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(function, name) == getattr(original, name)
    assert [*map(str, inspect.signature(function).parameters.values())] == [
        str(parameter.replace(annotation=parameter.empty))
        for parameter in inspect.signature(original).parameters.values()
    ]
    assert repr(function) == f"<built-in function {function.__name__}>"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    assert copy.deepcopy(function) is function


@needs_builtins
def test_every_builtin_of_the_library_is_used() -> None:
    """The library has no builtin that nothing in the package stands behind."""
    from axptr_native import guarded_view

    assert inspect.isbuiltin(guarded_view.read_item)
    assert _builtins._maker is not None
    assert all(_builtins._maker.state.functions)


class SaysItIsASlice:
    """Not a slice, whatever ``isinstance`` says."""

    __slots__ = ()
    __class__: Any = slice


def test_what_only_says_that_it_is_a_slice_is_none() -> None:
    """A position is a slice by its type alone, and an index otherwise."""
    view: Any = GuardedView(b"text")
    for position in (SaysItIsASlice(), Mock(spec=slice)):
        assert isinstance(position, slice)
        with pytest.raises((TypeError, AttributeError)):
            view[position]


class Interrupting:
    """Code of the caller's that runs within a call, and is interrupted."""

    def __init__(self) -> None:
        self.calls = 0

    def __index__(self) -> int:
        self.calls += 1
        raise KeyboardInterrupt

    def __float__(self) -> float:
        raise KeyboardInterrupt


INTERRUPTED: dict[str, Callable[[Any], Any]] = {
    "address": lambda value: uaccess.copy_from_user(value, 16),
    "size": lambda value: uaccess.strnlen_user(HERE, value),
    "put_user": lambda value: uaccess.put_user(HERE + 32, ctypes.c_int, value),
    "put_user float": lambda value: uaccess.put_user(HERE + 32, ctypes.c_double, value),
    "fetch_add": lambda value: atomics.fetch_add(HERE + 32, ctypes.c_int, value),
    "compare_exchange": lambda value: atomics.compare_exchange(HERE + 32, ctypes.c_int, value, 1),
    "item": lambda value: GuardedView(own)[value],
    "slice": lambda value: GuardedView(own)[value:8],
}


@pytest.mark.parametrize("call", INTERRUPTED.values(), ids=INTERRUPTED)
def test_what_the_caller_s_own_code_raises_comes_out(call: Callable[[Any], Any]) -> None:
    """A KeyboardInterrupt in an ``__index__`` or a ``__float__`` is the caller's, and that code does not run again."""
    value = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        call(value)
    assert value.calls <= 1


@needs_builtins
@pytest.mark.parametrize("call", ["copy_from_user(8, 16)", "get_user(8, ctypes.c_uint64)"])
def test_a_fault_without_memory_for_its_exception_is_a_memory_error(call: str, tmp_path: Path) -> None:
    """Whichever allocation fails on the way to a FaultError, it is that or a MemoryError that comes out."""
    pytest.importorskip("_testcapi", reason="this interpreter cannot simulate that memory runs out")
    code = f"""
        import _testcapi, ctypes
        from axptr_native import FaultError
        from axptr_native.uaccess import copy_from_user, get_user
        raised = []
        for successes in range(24):
            try:
                _testcapi.set_nomemory(successes, successes + 1)
                {call}
            except BaseException as error:
                found = error
            finally:
                _testcapi.remove_mem_hooks()
            raised.append(type(found).__name__)
        print(*sorted(set(raised)))
        """
    assert run(code, cwd=tmp_path).stdout == "FaultError MemoryError\n"


@needs_builtins
def test_builtins_leave_no_reference_behind() -> None:
    """After a million calls, good, faulting and refused, nothing is referred to more often and nothing is kept."""
    watched = [None, True, False, ctypes.c_uint64, ctypes.c_int, FaultError, VirtAddr, *MappingFlags, *FaultReason]
    view, item = GuardedView(own), slice(3, 50)
    rounds = 1_000_000 // (3 * len(CALLS))

    def once() -> None:
        for call in CALLS.values():
            for at in (HERE, BAD, -1):
                with contextlib.suppress(FaultError):
                    call(at)
        view[item], view[-1]

    for _ in range(100):
        once()
    gc.collect()
    counts, blocks = [sys.getrefcount(one) for one in watched], sys.getallocatedblocks()
    for _ in range(rounds):
        once()
    gc.collect()
    grown = [after - before for after, before in zip(map(sys.getrefcount, watched), counts, strict=True)]
    assert all(abs(growth) < 100 for growth in grown), dict(zip(map(str, watched), grown, strict=True))
    assert sys.getallocatedblocks() - blocks < 1000


@needs_builtins
@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: copy_from_user(), TypeError),
        (lambda: copy_from_user(HERE), TypeError),
        (lambda: copy_from_user(HERE, 1, False), TypeError),
        (lambda: copy_from_user(*range(100)), TypeError),
        (lambda: copy_from_user(HERE, size=1, at=2), TypeError),
        (lambda: copy_from_user(str(HERE), 1), TypeError),
        (lambda: copy_from_user(HERE, 1.0), TypeError),
        (lambda: uaccess.copy_from_user_into(HERE, b"read-only"), TypeError),
        (lambda: uaccess.get_user(HERE, int), TypeError),
        (lambda: uaccess.put_user(HERE, ctypes.c_int, "1"), TypeError),
        (lambda: uaccess.put_user(HERE, ctypes.c_int8, 128), ValueError),
        (lambda: uaccess.put_user(HERE, ctypes.c_uint8, -1), ValueError),
        (lambda: uaccess.put_user(HERE, ctypes.c_uint64, 1 << 64), ValueError),
        (lambda: atomics.fetch_add(HERE, ctypes.c_double, 1), TypeError),
        (lambda: GuardedView(own)[64], IndexError),
        (lambda: GuardedView(own)["0"], TypeError),  # type: ignore[call-overload]
        (lambda: GuardedView(own)[::0], ValueError),
    ],
)
def test_what_a_builtin_does_not_take_the_python_function_refuses(call: Any, error: type[Exception]) -> None:
    """The exception is the Python function's, nothing is chained to it, and nothing was written."""
    before = own.raw
    with pytest.raises(error) as raised:
        call()
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    assert own.raw == before


def test_errors_of_operands_come_out_as_they_are() -> None:
    """An exception that an operand's own method raises is not swallowed."""

    class Bad:
        def __index__(self) -> int:
            raise ZeroDivisionError

    for call in (
        lambda: uaccess.copy_from_user(Bad(), 1),  # type: ignore[arg-type]
        lambda: uaccess.copy_from_user(HERE, Bad()),  # type: ignore[arg-type]
        lambda: uaccess.put_user(HERE, ctypes.c_int, Bad()),
        lambda: atomics.fetch_add(HERE, ctypes.c_int, Bad()),  # type: ignore[arg-type]
        lambda: GuardedView(own)[Bad()],  # type: ignore[call-overload]
        lambda: GuardedView(own)[Bad() :],
    ):
        with pytest.raises(ZeroDivisionError):
            call()


def test_an_interpreter_without_the_functions_falls_back_to_ctypes(tmp_path: Path) -> None:
    """Where one of them is missing the package works all the same, and says so."""
    code = """
    import ctypes
    class Poor:
        def __getattr__(self, name):
            if name == "PyEval_SaveThread":
                raise AttributeError("no such function: " + name)
            return getattr(full, name)
        def __getitem__(self, name):
            return getattr(self, name)
    full, ctypes.pythonapi = ctypes.pythonapi, Poor()
    from axptr_native import _builtins, uaccess
    print(_builtins.call_path)
    text = ctypes.create_string_buffer(b"text")
    print(uaccess.copy_from_user(ctypes.addressof(text), 4), type(uaccess.get_user).__name__)
    """
    assert run(code, cwd=tmp_path, environment={"AXPTR_CALLS": ""}).stdout.splitlines() == [
        "ctypes: no such function: PyEval_SaveThread",
        "b'text' function",
    ]


OTHER_PATH = "builtins" if _builtins.call_path != "builtins" else "ctypes"
ABOUT_PROCESSES = {"cli", "crashes", "environment", "examples", "fork", "handler_order", "previous_handlers", "readme"}
ABOUT_PYTEST = {
    "benchmark_report",
    "must_crash",
    "must_crash_marks",
    "plugin",
    "plugin_fixtures",
    "tutorial",
    "under_pytest",
}
WITHOUT_ACCESSES = {"real_library"}
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_suite_passes_on_the_other_path(part: int, tmp_path: Path) -> None:
    """What these tests say of the calls holds for the builtins and through ctypes."""
    if "AXPTR_OTHER_PATH" in os.environ:
        pytest.skip("this is the run on the other path")
    left_out = {f"test_{name}" for name in ABOUT_PROCESSES | ABOUT_PYTEST | WITHOUT_ACCESSES}
    files = sorted(file for file in Path(__file__).parent.glob("test_*.py") if file.stem not in left_out)
    chosen = map(str, files[part::PARTS])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *chosen]
    environment = {**clean_environment(), "AXPTR_OTHER_PATH": "1", "AXPTR_CALLS": OTHER_PATH}
    outcome = run_command(command, cwd=tmp_path, environment=environment, timeout=300)
    assert outcome.returncode == 0, outcome.stdout[-5000:]
    assert " passed" in outcome.stdout


def test_a_library_does_not_take_functions_of_another_layout() -> None:
    """Tables of other sizes than the library's are EINVAL, before it looks at them."""
    for functions, state in ((0, 0), (8, ctypes.sizeof(_builtins.Builtins)), (2**16, 2**16)):
        assert lib.axp_bind_python(None, functions, state, 0) == -errno.EINVAL
