# SPDX-License-Identifier: MIT
"""Which accesses drop the GIL, seen from a thread that gets to run only if it is dropped."""

import contextlib
import ctypes
import mmap
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from axptr_native import GuardedView, uaccess

LARGE = 1 << 20
SMALL = LARGE - 1
own = bytearray(LARGE)
memory = mmap.mmap(-1, LARGE)
HERE = ctypes.addressof(ctypes.c_char.from_buffer(memory))
TRIES = 2000

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this interpreter runs without the GIL"
)

ACCESSES: dict[str, Callable[..., Any]] = {
    "copy_from_user": lambda size, **options: uaccess.copy_from_user(HERE, size, **options),
    "copy_from_user_into": lambda size, **options: uaccess.copy_from_user_into(HERE, memoryview(own)[:size], **options),
    "copy_to_user": lambda size, **options: uaccess.copy_to_user(HERE, memoryview(own)[:size], **options),
    "find_in_user": lambda size, **options: uaccess.find_in_user(HERE, size, b"no", **options),
    "a view's slice": lambda size, **options: GuardedView(memory, **options)[:size],
    "a view's read_into": lambda size, **options: GuardedView(memory, **options).read_into(memoryview(own)[:size]),
    "a view's find": lambda size, **options: GuardedView(memory, **options).find(b"no", 0, size),
}


@contextlib.contextmanager
def another_thread() -> Iterator[Callable[[], bool]]:
    """Have a thread wait to run, and give a function that tells whether it was let to."""
    interval = sys.getswitchinterval()
    may_start, has_run = threading.Event(), threading.Event()

    def wait_and_run() -> None:
        may_start.wait()
        has_run.set()

    thread = threading.Thread(target=wait_and_run)
    sys.setswitchinterval(1000)
    try:
        thread.start()  # returns when the thread drops the GIL, in wait()
        may_start.set()
        yield has_run.is_set
    finally:
        sys.setswitchinterval(interval)
        may_start.set()
        thread.join()


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES.keys())
@pytest.mark.parametrize(
    ("size", "options"), [(LARGE, {}), (8, {"release_gil": True})], ids=["a large one", "one that is told to"]
)
def test_accesses_that_drop_the_gil(access: Callable[..., Any], size: int, options: dict[str, bool]) -> None:
    """Another thread runs meanwhile, at the latest at one of many tries."""
    with another_thread() as has_run:
        assert any((access(size, **options), has_run())[1] for _ in range(100 * TRIES))


@pytest.mark.parametrize("access", ACCESSES.values(), ids=ACCESSES.keys())
def test_small_accesses_keep_the_gil(access: Callable[..., Any]) -> None:
    """No other thread runs, however often it is tried."""
    with another_thread() as has_run:
        for _ in range(TRIES):
            access(8)
        access(SMALL)
        assert not has_run()
