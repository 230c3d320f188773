# SPDX-License-Identifier: MIT
"""Where faults are injected: inside, in this thread, until the end, however that comes."""

import contextlib
import ctypes
import errno
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from child import check, run
from helpers_injection import AT, access, accesses, expected_luck
from helpers_python import IS_PYPY, let_go

from axptr_native import FaultError, uaccess
from axptr_native._native import Injection, lib
from axptr_native.testing import fail_usercopy

SOURCE = fail_usercopy.__enter__.__code__.co_filename


def test_nothing_is_injected_before_and_after() -> None:
    """Making one changes nothing, and after the end, by an exception too, accesses go well."""
    injection = fail_usercopy()
    assert accesses(3) == "..."
    with pytest.raises(FaultError), injection:
        uaccess.copy_from_user(AT, 8)
    assert accesses(3) == "..."
    assert lib.axp_is_injecting() == 0


def test_the_innermost_decides_alone() -> None:
    """While an inner one is on, the outer one neither fails nor counts anything, and then goes on where it was."""
    with fail_usercopy(interval=3) as outer:
        assert accesses(2) == ".."
        with fail_usercopy(times=1) as inner:
            assert accesses(5) == "x...."
        assert accesses(4) == "x..x"
        with fail_usercopy(probability=0.0):
            assert accesses(9) == "........."
    assert (outer.calls, outer.failures) == (6, 2)
    assert (inner.calls, inner.failures) == (5, 1)


def test_one_cannot_be_entered_twice_at_once() -> None:
    """Entering one that is on is RuntimeError, and changes nothing; leaving it once is enough."""
    injection = fail_usercopy()
    with injection:
        with pytest.raises(RuntimeError, match="entered already"), injection:
            pass
        assert accesses(2) == "xx"
    assert accesses(2) == ".."
    with pytest.raises(RuntimeError):
        injection.__exit__(None, None, None)
    assert accesses(2) == ".."


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_they_may_end_in_any_order(order: tuple[int, ...]) -> None:
    """After each end, the innermost of those that are left decides."""
    injections = [fail_usercopy(interval=1), fail_usercopy(interval=2), fail_usercopy(interval=3)]
    said = ["xxxxxx", ".x.x.x", "..x..x"]
    for injection in injections:
        injection.__enter__()
    left = [0, 1, 2]
    assert accesses(6) == said[2]
    for ending in order:
        injections[ending].__exit__(None, None, None)
        left.remove(ending)
        assert accesses(6) == (said[left[-1]] if left else "......")


def test_a_generator_that_ends_late_takes_only_its_own() -> None:
    """A generator holds one open while its caller enters another; each ends by itself."""

    def holding() -> Generator[None, None, None]:
        with fail_usercopy(interval=2):
            yield

    generator = holding()
    next(generator)
    with fail_usercopy():
        assert accesses(2) == "xx"
        generator.close()
        assert accesses(2) == "xx"
    assert accesses(2) == ".."


def test_one_that_ends_in_another_thread_stops_there_and_then() -> None:
    """Left elsewhere, it fails nothing in the thread that entered it, where what is around it decides."""
    inner, outer = fail_usercopy(), fail_usercopy(interval=2)
    with outer:
        inner.__enter__()
        assert accesses(2) == "xx"
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner.__exit__, None, None, None).result()
            assert pool.submit(accesses, 2).result() == ".."
            assert accesses(4) == ".x.x"
            with inner:  # and can be entered again
                assert accesses(2) == "xx"
    assert accesses(2) == ".."


def test_the_library_says_what_became_of_it() -> None:
    """Beginning twice is EBUSY, ending what has not begun ENOENT, ending it in another thread ESRCH."""
    injection, other = Injection(times=0), Injection(times=0)
    assert lib.axp_end_injection(injection) == -errno.ENOENT
    assert lib.axp_begin_injection(injection) == 0
    assert lib.axp_begin_injection(injection) == -errno.EBUSY
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lib.axp_begin_injection, injection).result() == -errno.EBUSY
        assert pool.submit(lib.axp_begin_injection, other).result() == 0
        assert lib.axp_end_injection(other) == -errno.ESRCH
        assert lib.axp_end_injection(other) == -errno.ENOENT
        assert pool.submit(lib.axp_is_injecting).result() == 0
    assert lib.axp_is_injecting() == 1
    assert lib.axp_end_injection(injection) == 0
    assert lib.axp_end_injection(injection) == -errno.ENOENT
    assert lib.axp_is_injecting() == 0
    assert lib.axp_injection_everywhere(injection) == -errno.ENOENT


def test_one_that_is_let_go_of_ends() -> None:
    """Nobody can end it any more, so it does by itself."""
    injection = fail_usercopy()
    injection.__enter__()
    assert accesses(2) == "xx"
    del injection
    let_go()
    assert accesses(2) == ".."


def test_one_that_never_ends_does_no_harm_at_the_end(tmp_path: Path) -> None:
    """A finalizer that runs when modules are gone still accesses memory, and nothing crashes."""
    code = """
    import ctypes, sys, threading
    from helpers_python import let_go
    from axptr_native import uaccess
    from axptr_native.testing import fail_usercopy
    good = ctypes.create_string_buffer(8)
    def access(at=ctypes.addressof(good), copy=uaccess.copy_from_user, failure=OSError):
        try:
            return copy(at, 8)
        except failure as error:
            return error.errno
    class Late:
        def __del__(self, access=access, say=print):
            say(access() in (14, bytes(8)), flush=True)
    sys.modules["late"] = Late()
    entered = fail_usercopy()
    entered.__enter__()
    def drop_one():
        fail_usercopy().__enter__()
        let_go()
        print(access())
    thread = threading.Thread(target=drop_one)
    thread.start()
    thread.join()
    print(access())
    """
    late = [] if IS_PYPY else ["True"]  # PyPy runs no finalizers at the end
    assert check(run(code, cwd=tmp_path)).stdout.splitlines() == [str(bytes(8)), "14", *late]


def test_other_threads_are_not_touched() -> None:
    """Of eight threads at once four inject, and each sees its own faults and no other's."""
    barrier = threading.Barrier(8)

    def body(number: int) -> str:
        with ExitStack() as stack:
            barrier.wait()
            if number % 2:
                stack.enter_context(fail_usercopy(probability=0.5, seed=number))
            barrier.wait()
            return accesses(2000)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(body, range(8)))
    for number, said in enumerate(found):
        assert said == (expected_luck(number, 0.5, 2000) if number % 2 else "." * 2000)


def test_accesses_that_drop_the_gil_are_asked_about() -> None:
    """Large accesses, on the library that drops the GIL, fail as small ones do."""
    good = bytearray(1 << 20)
    at = ctypes.addressof((ctypes.c_char * len(good)).from_buffer(good))
    with fail_usercopy(interval=2):
        assert len(uaccess.copy_from_user(at, len(good))) == len(good)
        with pytest.raises(FaultError):
            uaccess.copy_from_user(at, len(good))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_inherits_it_with_counters_of_its_own() -> None:
    """A forked child goes on from where its parent was, and the parent does not see what it did."""
    with fail_usercopy(interval=3) as injection:
        assert accesses(4) == "..x."
        pid = os.fork()
        if pid == 0:
            os._exit(0 if accesses(5) == ".x..x" and injection.calls == 9 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert accesses(2) == ".x"
        assert injection.calls == 6


@contextmanager
def handled(action: Callable[[int, object], object]) -> Iterator[None]:
    """Have a handler for SIGUSR1."""
    before = signal.signal(signal.SIGUSR1, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_signal_handler_s_accesses_are_calls() -> None:
    """A handler that runs in the thread is asked about, and may have one of its own."""
    seen = []

    def handler(*_: object) -> None:
        seen.append(access())
        with fail_usercopy():
            seen.append(access())

    with handled(handler), fail_usercopy(interval=2):
        assert access() == "."
        signal.raise_signal(signal.SIGUSR1)
        assert access() == "."
    assert seen == ["x", "x"]


@contextmanager
def interrupted(after: int) -> Iterator[list[str]]:
    """Have KeyboardInterrupt come after so many lines of entering and leaving; give a list of where it came."""
    came: list[str] = []
    lines = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_code.co_name
        if frame.f_code.co_filename != SOURCE or name not in ("__enter__", "__exit__", "_end") or came:
            return None
        if event == "line" and next(lines) == after:
            came.append(name)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield came
    finally:
        sys.settrace(before)


def test_an_interruption_leaves_nothing_on() -> None:
    """Wherever a signal handler's exception comes while one is entered or left, nothing is injected afterwards."""
    places = []
    for after in itertools.count():
        with contextlib.suppress(KeyboardInterrupt), interrupted(after) as came, fail_usercopy():
            pass
        let_go()
        assert lib.axp_is_injecting() == 0, came
        if not came:
            break
        places += came
    assert set(places) == {"__enter__", "__exit__", "_end"}
    assert accesses(3) == "..."
