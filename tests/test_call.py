# SPDX-License-Identifier: MIT
"""A fault inside a foreign function is an exception that says what happened, and the process works on."""

import contextlib
import copy
import ctypes
import errno
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from child import address_of, in_forks, truncated_mapping
from helpers_call import (
    BAD,
    CALLEE,
    NON_CANONICAL,
    SS_AUTODISARM,
    SS_DISABLE,
    Surroundings,
    alternate_stack,
    fault_of_call,
    stub,
    surroundings,
)
from helpers_memory import READ, SIGNALS, WRITE, Seen, fault_of, faulted, good_memory, seen
from helpers_python import IS_PYPY

from axptr_native import PAGE_SIZE, FaultError, FaultReason, MappingFlags, access_user_memory, is_accessing_user_memory
from axptr_native._regions import Ending, Region, ending_memory
from axptr_native.call import CallFaultError, guarded, guarded_call
from axptr_native.uaccess import probe_read, probe_write

EXECUTE = MappingFlags.EXECUTE


@pytest.mark.skipif(not IS_PYPY, reason="this Python tells whether a fault is its own")
def test_where_a_fault_cannot_be_told_for_ones_own_nothing_is_called(callee: Any) -> None:
    """guarded() and guarded_call() are ENOTSUP, and say why."""
    buffer = ctypes.create_string_buffer(b"before!")
    for use in (lambda: guarded(callee.copy), lambda: guarded_call(callee.copy, buffer, b"after", 5)):
        with pytest.raises(OSError, match="does not tell whether a fault is its own") as raised:
            use()
        assert raised.value.errno == errno.ENOTSUP
    assert buffer.value == b"before!"


def test_a_call_without_a_fault_returns_what_the_function_does(callee: Any) -> None:
    """The result of a good call is the function's, and so is what it has written."""
    buffer = ctypes.create_string_buffer(b"before!")
    assert guarded_call(callee.same_int32, -3) == -3
    guarded_call(callee.copy, buffer, b"after", 5)
    assert buffer.value == b"aftere!"


# ---- What a fault says. ----


@pytest.mark.parametrize(("name", "access"), [("read_at", READ), ("write_at", WRITE)])
def test_a_fault_tells_address_access_reason_signal_and_function(
    callee: Any, region: Region, ending: Ending, name: str, access: MappingFlags
) -> None:
    """Every field of the error is that of the instruction that faulted."""
    error = fault_of_call(callee[name], ctypes.c_void_p(region.edge + 4))
    assert seen(error) == faulted(region.edge + 4, 0, ending.value, access)
    assert error.size is None
    assert error.symbol == f"{name} in {CALLEE}"


def test_the_instruction_is_the_one_that_faulted(callee: Any) -> None:
    """``instruction`` is exact, to the byte."""
    assert fault_of_call(callee.read_first, BAD).instruction == address_of(callee.read_first_load)


def test_a_fault_in_a_function_that_the_function_calls_is_named(callee: Any) -> None:
    """The symbol is the innermost function's, also if the library does not export it."""
    assert fault_of_call(callee.read_at_depth, BAD, 20).symbol == f"read_deeper in {CALLEE}"


@pytest.mark.parametrize(("write", "access"), [(False, READ), (True, WRITE)])
def test_a_fault_in_the_c_library_is_caught(
    callee: Any, region: Region, ending: Ending, write: bool, access: MappingFlags
) -> None:
    """A copy over an edge faults behind the edge, whatever the instructions that it uses."""
    good = ctypes.create_string_buffer(PAGE_SIZE)
    places = (region.edge - 100, good) if write else (good, region.edge - 100)
    error = fault_of_call(callee.copy, *places, PAGE_SIZE)
    assert (error.access, error.reason, error.signal) == (access, ending.value, SIGNALS[ending.value])
    assert region.edge <= error.address < region.edge - 100 + PAGE_SIZE
    if sys.platform == "linux":  # elsewhere compilers bring copies of their own
        assert (error.symbol or "").endswith("in libc.so.6")


def test_a_write_to_read_only_memory_is_not_permitted(callee: Any) -> None:
    """Reading it is not a fault, and writing it is one with reason NOT_PERMITTED."""
    with good_memory(1, READ) as start:
        assert guarded_call(callee.read_at, start) == 0
        assert seen(fault_of_call(callee.write_at, start)) == faulted(start, 0, FaultReason.NOT_PERMITTED, WRITE)


def test_a_mapping_whose_file_was_truncated_is_beyond_its_end(callee: Any) -> None:
    """The SIGBUS of an mmap object is caught."""
    mapping = truncated_mapping()
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    error = fault_of_call(callee.read_at, start + PAGE_SIZE)
    assert seen(error) == faulted(start + PAGE_SIZE, 0, FaultReason.BEYOND_END, READ)


@pytest.fixture(params=["itself", "a function that it calls"])
def jump(request: pytest.FixtureRequest, callee: Any) -> Callable[[int], CallFaultError]:
    """Two ways to jump to where there is no code."""
    if request.param == "itself":
        return lambda address: fault_of_call(stub(address))
    return lambda address: fault_of_call(callee.jump_to, address)


def test_a_jump_to_what_is_no_code_tells_where(jump: Callable[[int], CallFaultError], ending: Ending) -> None:
    """A function pointer that leads to bad memory, or to memory that is not executable, is a fault of EXECUTE there."""
    with ending_memory(ending) as region:
        for address, reason in ((region.edge, ending.value), (region.start, FaultReason.NOT_PERMITTED)):
            error = jump(address)
            assert seen(error) == faulted(address, 0, reason, EXECUTE)
            assert (error.instruction, error.symbol) == (address, None)


def test_a_jump_to_null_tells_so(jump: Callable[[int], CallFaultError]) -> None:
    """Calling NULL is a fault of EXECUTE at address 0."""
    error = jump(0)
    assert seen(error) == faulted(0, 0, FaultReason.NOT_MAPPED, EXECUTE)
    assert (error.instruction, error.symbol) == (0, None)
    assert str(error) == "[Errno 14] Bad address: cannot execute 0x0: not mapped"


@pytest.mark.parametrize("name", ["read_at", "write_at", "jump_to"])
def test_an_address_that_is_not_canonical_is_a_fault_without_an_address(callee: Any, name: str) -> None:
    """The processor does not say which it was, but who accessed it."""
    error = fault_of_call(callee[name], NON_CANONICAL)
    assert (error.address, error.reason, error.signal) == (0, FaultReason.NOT_CANONICAL, signal.SIGSEGV)
    assert error.symbol == f"{name} in {CALLEE}"
    assert "not canonical" in str(error)


def test_a_misaligned_vector_operand_is_a_fault_whose_text_names_it(callee: Any) -> None:
    """x86 does not tell it from an address that is not canonical, so the text speaks of both."""
    with good_memory(1) as start:
        assert guarded_call(callee.load_vector, start) == 1
        error = fault_of_call(callee.load_vector, start + 1)
    assert error.reason is FaultReason.NOT_CANONICAL
    assert "a misaligned vector operand" in str(error)


def test_the_error_reads_as_a_person_would_want() -> None:
    """str, repr and errno are those of other faults, with the function at the end."""
    error = CallFaultError(0x10, READ, FaultReason.NOT_MAPPED, 11, 0x1234, "parse in libpacket.so")
    assert str(error) == "[Errno 14] Bad address: cannot read 0x10: not mapped, in parse in libpacket.so"
    assert repr(error) == "CallFaultError(14, 'Bad address: cannot read 0x10: not mapped, in parse in libpacket.so')"
    assert (error.errno, isinstance(error, FaultError), isinstance(error, OSError)) == (errno.EFAULT, True, True)


@pytest.mark.parametrize("again", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("address", [16, 0])
def test_the_error_survives_pickle_and_copy(
    callee: Any, again: Callable[[CallFaultError], CallFaultError], address: int
) -> None:
    """Every field is the same afterwards, also what was added to it, and the symbol without looking it up again."""
    error = fault_of_call(callee.jump_to if address == 0 else callee.read_at, address)
    error.note = "kept"  # type: ignore[attr-defined]
    copied = again(error)
    fields = ("address", "access", "reason", "transferred", "size", "signal", "instruction", "symbol", "note")
    assert type(copied) is CallFaultError
    assert [getattr(copied, name) for name in fields] == [getattr(error, name) for name in fields]
    assert str(copied) == str(error)


# ---- What a fault leaves. ----


@pytest.fixture(params=["main", "thread"])
def in_thread(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Any]:
    """Run something here, or in a thread that ends with it."""

    def run(body: Callable[[], Any]) -> Any:
        if request.param == "main":
            return body()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(body).result()

    return run


STACKS = {"none": (0, SS_DISABLE), "small": (16 * 1024, 0), "disarming itself": (16 * 1024, SS_AUTODISARM)}


@pytest.mark.parametrize(("size", "flags"), STACKS.values(), ids=STACKS)
def test_a_fault_leaves_the_thread_as_it_was(
    callee: Any,
    in_thread: Callable[[Callable[[], Any]], Any],
    size: int,
    flags: int,
) -> None:
    """Signal mask, alternate stack, rounding, MXCSR and x87 are as before, whatever the function had made of them."""
    callee.half_of.argtypes, callee.half_of.restype = [ctypes.c_double], ctypes.c_longdouble

    def body() -> None:
        guarded_call(callee.same_int32, 1)  # which unblocks the signals, if somebody had not
        with alternate_stack(callee, size, flags):
            before = surroundings(callee)
            for name in ("change_all", "shrink_stack", "read_at"):
                fault_of_call(callee[name], BAD)
                assert surroundings(callee) == before
                assert [callee.half_of(1.0) for _ in range(20)] == [0.5] * 20

    in_thread(body)


def test_a_fault_leaves_the_floats_as_they_were(callee: Any, in_thread: Callable[[Callable[[], Any]], Any]) -> None:
    """The same of rounding, MXCSR and x87 alone, which there are where there are no signals."""

    def body() -> None:
        before = surroundings(callee)
        fault_of_call(callee.change_floats, BAD)
        assert surroundings(callee) == before

    in_thread(body)


def test_a_fault_keeps_a_rounding_mode_that_was_set_before(callee: Any) -> None:
    """The floating-point environment is the caller's own, not the default one."""
    assert callee.round_upward() == 0
    try:
        before = surroundings(callee)
        fault_of_call(callee.read_at, BAD)
        after = surroundings(callee)
    finally:
        callee.round_to_nearest()
    assert after == before
    assert after["rounding"] != surroundings(callee)["rounding"]


def test_a_call_that_returns_keeps_what_it_changed(callee: Any) -> None:
    """The signal mask, the alternate stack and the rounding mode that a function sets are still set after it."""
    memory = ctypes.create_string_buffer(16 * 1024)

    def body() -> dict[str, int]:
        assert guarded_call(callee.put_up_stack, memory, len(memory), 0) == 0
        assert guarded_call(callee.block_signal, signal.SIGUSR2) == 0
        assert guarded_call(callee.round_upward) == 0
        return surroundings(callee)

    with ThreadPoolExecutor(1) as pool:
        after = pool.submit(body).result()
    assert (after["stack"], after["stack_size"]) == (ctypes.addressof(memory), len(memory))
    assert after["mask"] >> (signal.SIGUSR2 - 1) & 1
    assert after["rounding"] != surroundings(callee)["rounding"]


def test_a_call_takes_back_the_stack_that_it_lent(callee: Any, in_thread: Callable[[Callable[[], Any]], Any]) -> None:
    """A thread without an alternate stack has one during a call, and none after it."""

    def body() -> None:
        with alternate_stack(callee, 0, SS_DISABLE):
            during = Surroundings()
            guarded_call(callee.note_surroundings, ctypes.byref(during))
            after = surroundings(callee)
        assert during.stack_size >= 16 * 1024
        assert (after["stack"] is None, after["stack_flags"]) == (True, SS_DISABLE)

    in_thread(body)


def test_a_stack_that_the_thread_has_is_not_replaced(
    callee: Any, in_thread: Callable[[Callable[[], Any]], Any]
) -> None:
    """A thread's own alternate stack is up during a call."""

    def body() -> None:
        with alternate_stack(callee, 16 * 1024) as start:
            during = Surroundings()
            guarded_call(callee.note_surroundings, ctypes.byref(during))
        assert during.stack == start

    in_thread(body)


def test_errno_is_the_functions_after_a_return_and_untouched_by_a_fault(callee: Any) -> None:
    """With ``use_errno`` a function finds the errno that was set, and a fault leaves that one."""
    ctypes.set_errno(5)
    assert guarded_call(callee.set_errno, 7) == 5
    assert ctypes.get_errno() == 7
    fault_of_call(callee.set_errno_and_read, 9, BAD)
    assert ctypes.get_errno() == 7


def test_the_mark_is_unchanged_by_a_fault(callee: Any) -> None:
    """is_accessing_user_memory() is before, during and after a fault what the caller made it."""

    def fault() -> bool:
        fault_of_call(callee.read_at, BAD)
        return is_accessing_user_memory()

    assert (fault(), access_user_memory(fault), is_accessing_user_memory()) == (False, True, False)


def test_thousands_of_faults_in_eight_threads_at_once_are_each_their_own(
    callee: Any, region: Region, ending: Ending
) -> None:
    """Each of eight threads finds 1,000 faults at the addresses that it alone asked for."""
    together = threading.Barrier(8)

    def body(number: int) -> set[Seen]:
        together.wait()
        read = guarded(callee.read_at)
        address = region.edge + 4 * number
        return {seen(fault_of(lambda: read(address), "in a thread")) for _ in range(1000)}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(body, range(8)))
    assert found == [{faulted(region.edge + 4 * number, 0, ending.value, READ)} for number in range(8)]


def test_a_fork_goes_on_with_guarded_calls(callee: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """After a fault, the child of a fork finds its own ones."""
    fault_of_call(callee.read_at, BAD)
    in_forks(["child"], lambda _: fault_of_call(callee.read_at, BAD))
    assert capfd.readouterr().out == '["child", 0, ""]\n'


def test_threads_that_end_leave_nothing_mapped(callee: Any) -> None:
    """What a thread was lent is unmapped when it ends."""

    def body() -> tuple[int, int]:
        with alternate_stack(callee, 0, SS_DISABLE):
            during = Surroundings()
            guarded_call(callee.note_surroundings, ctypes.byref(during))
        return during.stack, probe_write(during.stack, during.stack_size)

    with ThreadPoolExecutor(1) as pool:
        start, accessible = pool.submit(body).result()
    assert (accessible > 0, probe_read(start, 1)) == (True, 0)


@pytest.mark.parametrize("bad", [False, True], ids=["good", "faulting"])
def test_a_hundred_thousand_calls_leak_nothing(callee: Any, bad: bool) -> None:
    """Neither references to what was passed nor blocks of memory pile up."""
    read = guarded(callee.read_at)
    good = (ctypes.c_int * 4)()
    target: Any = BAD if bad else good

    def calls(count: int) -> None:
        for _ in range(count):
            with contextlib.suppress(CallFaultError):
                read(target)

    calls(1000)
    references, blocks = sys.getrefcount(target), sys.getallocatedblocks()
    calls(100_000)
    assert sys.getrefcount(target) == references
    assert sys.getallocatedblocks() - blocks < 100
