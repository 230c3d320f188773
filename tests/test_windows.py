# SPDX-License-Identifier: MIT
"""What only Windows has: exceptions for signals, guard pages, and memory that is given back as it was taken."""

from __future__ import annotations

import ctypes
import errno
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from child import check, run
from helpers_memory import READ, WRITE, fault_of, faulted, good_memory, pattern, peek, poke, seen
from helpers_platform import c_library

from axptr_native import PAGE_SIZE, AddrSpace, FaultError, FaultReason, handlers, uaccess
from axptr_native._memory import READ_WRITE, map_memory, unmap_memory
from axptr_native._native import MAP_FIXED, MAP_SHARED
from axptr_native.call import CallFaultError, guarded_call
from axptr_native.flags import MappingFlags

if sys.platform != "win32":
    pytest.skip("of Windows", allow_module_level=True)

PAGE_GUARD, PAGE_READWRITE = 0x100, 4
IN_PAGE_ERROR, ACCESS_VIOLATION = 0xC000_0006, 0xC000_0005
DIRECTION = 0x400
UNIT = 64 * 1024

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.VirtualProtect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p)


def guard(page: int) -> int:
    """Make a page a guard page, and return what protection it had."""
    before = ctypes.c_uint32()
    assert kernel32.VirtualProtect(page, PAGE_SIZE, PAGE_READWRITE | PAGE_GUARD, ctypes.byref(before))
    return before.value


@pytest.fixture
def code() -> Iterator[Any]:
    """What makes a function of machine code."""
    with AddrSpace(UNIT) as space:

        def make(instructions: str) -> Any:
            mapped = space.map_alloc(None, PAGE_SIZE, READ_WRITE | MappingFlags.EXECUTE)
            poke(mapped.start, bytes.fromhex(instructions))
            return ctypes.CFUNCTYPE(ctypes.c_uint64)(mapped.start)

        yield make


@pytest.mark.parametrize("access", [READ, WRITE], ids=str)
def test_a_guard_page_in_the_span_is_a_fault_and_stays_a_guard(access: MappingFlags, start: int) -> None:
    """A guarded access that meets one is NOT_PERMITTED, exact, and whoever relies on it finds it as it was."""
    page = start + PAGE_SIZE
    guard(page)
    copy = {
        READ: lambda: uaccess.copy_from_user(page - 13, 64),
        WRITE: lambda: uaccess.copy_to_user(page - 13, bytes(64)),
    }
    for _ in range(3):
        error = fault_of(copy[access], str(access))
        assert seen(error) == faulted(page, 13, FaultReason.NOT_PERMITTED, access)
    assert guard(page) == PAGE_READWRITE | PAGE_GUARD


def test_a_guard_page_outside_the_span_is_not_ours(start: int) -> None:
    """Touched by anybody else, it is the exception that it always was, once, and the guard is gone."""
    guard(start)
    with pytest.raises(OSError, match="0x80000001"):
        ctypes.memmove(ctypes.create_string_buffer(8), start, 8)
    assert guard(start) == PAGE_READWRITE


def test_a_fault_that_is_not_guarded_is_searched_for_on() -> None:
    """What is in nobody's span gets to the handler of ctypes, which makes an OSError of it."""
    with pytest.raises(OSError, match="access violation reading 0x0000000000000010"):
        ctypes.memmove(ctypes.create_string_buffer(8), 16, 8)


def test_a_fault_of_our_own_buffer_is_searched_for_on(start: int) -> None:
    """Of a copy whose kernel side is bad, the fault is the caller's bug, and not a FaultError."""
    from axptr_native._native import lib

    with pytest.raises(OSError, match="access violation writing 0x0000000000000010"):
        lib.axp_copy_from_user(16, start, 8)


def test_a_page_that_cannot_be_brought_in_is_beyond_the_end() -> None:
    """EXCEPTION_IN_PAGE_ERROR, of a mapped file whose disk is gone, is BEYOND_END where it says."""
    told = (ctypes.c_size_t * 3)(0, 0x12345678, 0xC000_009C)
    with pytest.raises(CallFaultError) as caught:
        guarded_call(kernel32.RaiseException, IN_PAGE_ERROR, 0, 3, told)
    assert (caught.value.address, caught.value.reason) == (0x12345678, FaultReason.BEYOND_END)


def test_a_called_function_that_faults_is_named(code: Any) -> None:
    """A fault in machine code of our own: access, address, reason, signal and instruction."""
    store = code("48 b8 10 00 00 00 00 00 00 00 c6 00 01 c3")  # mov rax, 16; mov byte [rax], 1; ret
    with pytest.raises(CallFaultError) as caught:
        guarded_call(store)
    error = caught.value
    assert seen(error) == faulted(16, 0, FaultReason.NOT_MAPPED, WRITE)
    assert error.instruction == (ctypes.cast(store, ctypes.c_void_p).value or 0) + 10


def test_floats_are_passed_in_either_kind_of_register() -> None:
    """A place of an argument is a word's or a float's, and the first four of each kind arrive, and those behind."""
    pow_of, printed = c_library().pow, c_library().sprintf
    pow_of.restype = ctypes.c_double
    assert guarded_call(pow_of, ctypes.c_double(2), ctypes.c_double(10)) == 1024
    scaled = c_library().ldexp
    scaled.restype = ctypes.c_double
    assert guarded_call(scaled, ctypes.c_double(3), 2) == 12
    buffer = ctypes.create_string_buffer(64)
    values = [7, ctypes.c_double(0.5), 8, ctypes.c_double(-1.5), ctypes.c_double(2.25)]
    guarded_call(printed, buffer, b"%d %g %d %g %g", *values)
    assert buffer.value == b"7 0.5 8 -1.5 2.25"


def test_the_direction_flag_is_clear_after_a_fault(code: Any) -> None:
    """A function that faults while it copies backwards leaves nobody copying backwards."""
    with pytest.raises(CallFaultError):
        guarded_call(code("fd 31 c0 8a 00 c3"))  # std; xor eax, eax; mov al, [rax]; ret
    assert code("9c 58 c3")() & DIRECTION == 0  # pushfq; pop rax; ret


def test_a_stack_overflow_is_a_fault_each_time(code: Any) -> None:
    """The thread's guard page is put up again, so that the second overflow is caught as the first was."""
    endless = code("e8 fb ff ff ff")  # call itself
    reasons = []

    def overflow() -> None:
        for _ in range(3):
            with pytest.raises(CallFaultError) as caught:
                guarded_call(endless)
            reasons.append((caught.value.reason, caught.value.access))

    thread = threading.Thread(target=overflow)
    thread.start()
    thread.join()
    assert reasons == [(FaultReason.NOT_PERMITTED, WRITE)] * 3


def test_faulthandler_says_nothing_once_ours_is_in_front(tmp_path: Path) -> None:
    """It is a vectored handler too, and put first: install() goes before it, and so does an access at the next tick."""
    code = """
        import faulthandler, time
        import axptr_native
        from child import fault_exactly
        from axptr_native._regions import Ending, ending_memory
        def guarded_fault():
            with ending_memory(Ending.HOLE) as region:
                fault_exactly(region.edge, Ending.HOLE.value, 11)
        faulthandler.enable()
        axptr_native.handlers.install()
        guarded_fault()
        faulthandler.enable()
        before = ctypes.windll.kernel32.GetTickCount64()
        while ctypes.windll.kernel32.GetTickCount64() == before:
            pass
        guarded_fault()
        """
    assert check(run("import ctypes\n" + code.replace("\n        ", "\n"), cwd=tmp_path)).stderr == ""


def test_the_only_handler_that_is_told_is_ours() -> None:
    """The system tells of no other: SIGSEGV stands for all that we handle."""
    status = handlers.status()
    assert list(status) == [signal.SIGSEGV]
    assert status[signal.SIGSEGV].on_top
    assert [handler.name.rpartition(" in ")[2] for handler in status[signal.SIGSEGV].handlers] == ["axptr_native.dll"]


def test_installing_while_others_fault_loses_no_fault() -> None:
    """Four threads fault for as long as two put the handler in front again and again: each fault is exact."""
    done = threading.Event()
    wrong: list[FaultError] = []
    right: list[int] = []

    def install() -> None:
        while not done.is_set():
            handlers.install()

    def fault(edge: int) -> None:
        for count in range(500):
            error = fault_of(partial(uaccess.copy_from_user, edge - count % 60, 64), str(count))
            if (error.address, error.transferred) != (edge, count % 60):
                wrong.append(error)
        right.append(edge)

    with good_memory(1) as start:
        installing = [threading.Thread(target=install) for _ in range(2)]
        faulting = [threading.Thread(target=fault, args=(start + PAGE_SIZE,)) for _ in range(4)]
        for thread in [*installing, *faulting]:
            thread.start()
        for thread in faulting:
            thread.join()
        done.set()
        for thread in installing:
            thread.join()
    assert (wrong, len(right)) == ([], 4)


@pytest.mark.parametrize("shared", [True, False])
def test_a_file_is_mapped_where_there_is_room(shared: bool, tmp_path: Path) -> None:
    """From a multiple of 64 KiB up to the end of its last page; what is written reaches it if it is shared."""
    path = tmp_path / "file"
    content = pattern(UNIT + 100)
    path.write_bytes(content)
    with path.open("rb+") as file:
        options = MAP_SHARED if shared else 0
        start = map_memory(PAGE_SIZE, READ_WRITE, options=options, file=file.fileno(), offset=UNIT)
        try:
            assert peek(start, PAGE_SIZE) == content[UNIT:].ljust(PAGE_SIZE, b"\0")
            uaccess.copy_to_user(start, b"written")
        finally:
            unmap_memory(start, PAGE_SIZE)
    assert path.read_bytes()[UNIT : UNIT + 7] == (b"written" if shared else content[UNIT : UNIT + 7])


@pytest.mark.parametrize(
    ("size", "offset", "over"),
    [(2 * PAGE_SIZE, 0, False), (PAGE_SIZE, PAGE_SIZE, False), (PAGE_SIZE, 0, True)],
    ids=["past its end", "from an offset that is no multiple of 64 KiB", "over something else"],
)
def test_what_cannot_be_mapped_is_not_supported(size: int, offset: int, over: bool, start: int, tmp_path: Path) -> None:
    """ENOTSUP, and the file is as long as it was."""
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with path.open("rb+") as file, pytest.raises(OSError, match=r"\[Errno") as caught:
        map_memory(size, READ, start=start if over else 0, options=MAP_FIXED * over, file=file.fileno(), offset=offset)
    assert caught.value.errno == errno.ENOTSUP
    assert path.read_bytes() == b"short"


@pytest.mark.parametrize("from_file", [True, False], ids=["a file", "memory"])
@pytest.mark.parametrize("beyond", [PAGE_SIZE, UNIT - PAGE_SIZE, None], ids=["second page", "last page", "null"])
def test_a_place_that_is_not_kept_is_no_fixed_one(beyond: int | None, from_file: bool, tmp_path: Path) -> None:
    """Free, but between multiples of 64 KiB, or null, which stands for any: ENOTSUP, and nothing is mapped."""
    path = tmp_path / "file"
    path.write_bytes(pattern(UNIT))
    free = map_memory(2 * UNIT, READ_WRITE)
    unmap_memory(free, 2 * UNIT)
    with path.open("rb+") as file, pytest.raises(OSError, match=r"\[Errno") as caught:
        map_memory(
            PAGE_SIZE,
            READ,
            start=0 if beyond is None else free + beyond,
            options=MAP_FIXED,
            file=file.fileno() if from_file else -1,
        )
    assert caught.value.errno == errno.ENOTSUP
    assert uaccess.probe_read(free, 2 * UNIT) == 0


def test_a_part_of_what_was_mapped_is_not_unmapped(start: int) -> None:
    """ENOTSUP, and all of it is still there."""
    poke(start, pattern(2 * PAGE_SIZE))
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        unmap_memory(start, PAGE_SIZE)
    assert caught.value.errno == errno.ENOTSUP
    assert peek(start, 2 * PAGE_SIZE) == pattern(2 * PAGE_SIZE)


def test_a_pager_is_not_supported_and_leaves_the_space_as_it_was() -> None:
    """map_pager and map_file are ENOTSUP, and the addresses are free for memory."""
    with AddrSpace(2 * UNIT) as space:
        with pytest.raises(OSError, match=r"\[Errno") as caught:
            space.map_pager(None, PAGE_SIZE, READ_WRITE, lambda *_: bytes(PAGE_SIZE))
        assert caught.value.errno == errno.ENOTSUP
        assert space.areas() == ()
        mapped = space.map_alloc(space.base, PAGE_SIZE, READ_WRITE)
        space.write(mapped.start, b"here")
        assert space.read(mapped.start, 4) == b"here"
