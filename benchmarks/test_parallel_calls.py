# SPDX-License-Identifier: MIT
"""What two threads get done that copy at the same time, against one."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Sequence
from ctypes import c_size_t, c_void_p
from typing import TYPE_CHECKING

from interleave import Batch, Unavailable, python
from memory import Memory
from units import times

from axptr_native import uaccess

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare

pytest_plugins = ("recording", "comparing")
PART = "Threads"

SIZE = 1 << 20
COPIES = 256
"""That a thread makes before it is waited for: long beside what it takes to start one."""
CONTROL = 1.9
"""What memcpy gains by the second thread where there is a processor for each."""


def repeated(statement: str, **names: object) -> Batch:
    """Return a batch of COPIES times a statement."""
    batch = python(statement, **names)
    assert not isinstance(batch, Unavailable)
    return lambda count: batch(COPIES * count)


def at_once(batches: Sequence[Batch]) -> Batch:
    """Return a batch of batches, each in a thread of its own; its time is divided by their number."""

    def batch(count: int) -> float:
        started, ended = [0.0] * len(batches), [0.0] * len(batches)
        together = threading.Barrier(len(batches))

        def run(number: int) -> None:
            together.wait()
            started[number] = time.perf_counter()
            batches[number](count)
            ended[number] = time.perf_counter()

        threads = [threading.Thread(target=run, args=(number,)) for number in range(len(batches))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (max(ended) - min(started)) / len(batches)

    return batch


def test_two_threads(compare: Compare, bars: Bars) -> None:
    """Copies of 1 MiB between buffers of each thread's own, and as a control the same by memcpy."""
    memcpy = ctypes.CDLL(None)["memcpy"]  # which drops the GIL
    memcpy.restype, memcpy.argtypes = c_void_p, (c_void_p, c_void_p, c_size_t)
    memories = [Memory(SIZE), Memory(SIZE)]
    guarded = [
        repeated(
            "copy(addr, buffer)", copy=uaccess.copy_from_user_into, addr=memory.user, buffer=memory.own_buffer(SIZE)
        )
        for memory in memories
    ]
    control = [
        repeated("memcpy(own, addr, size)", memcpy=memcpy, own=memory.own, addr=memory.user, size=SIZE)
        for memory in memories
    ]
    samples = compare(
        "A copy of 1 MiB, and in two threads half the time that two copies take",
        {
            "copy_from_user_into": at_once(guarded[:1]),
            "copy_from_user_into, 2 threads": at_once(guarded),
            "memcpy": at_once(control[:1]),
            "memcpy, 2 threads": at_once(control),
        },
        operations=COPIES,
        seconds=4,
    )
    reached = samples.ratio("memcpy", "memcpy, 2 threads")
    bars.faster(
        "copy_from_user_into of 1 MiB in 2 threads",
        samples,
        "copy_from_user_into, 2 threads",
        than="copy_from_user_into",
        at_least=1.7,
        judged=reached >= CONTROL,
        note=f" (memcpy {times(reached)})",
    )
