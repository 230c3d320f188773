# SPDX-License-Identifier: MIT
"""What a fault costs in Python, from the call to the exception in the caller's hands."""

from __future__ import annotations

import errno
import os
from ctypes import c_uint64
from typing import TYPE_CHECKING, Any

from interleave import Unavailable, python
from memory import NOT_MAPPED

from axptr_native import FaultError, uaccess

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from interleave import Batch
    from memory import Memory
    from rivals import Rivals

pytest_plugins = ("recording", "comparing", "rivals")
PART = "Faults"

FLOOR = "a bare signal and an OSError"
"""The least that a fault can cost which becomes an exception."""


def floor(memory: Memory, rivals: Rivals) -> Batch | Unavailable:
    """Return a batch of a signal that a handler jumps out of, and of an OSError that is raised and caught."""
    signal = rivals.in_c("signal_round_trip", NOT_MAPPED, memory.own, 8)
    # Without its traceback, which would be one entry longer each time.
    raised = python(
        "try: raise error.with_traceback(None)\nexcept OSError: pass",
        error=OSError(errno.EFAULT, os.strerror(errno.EFAULT)),
    )
    if isinstance(signal, Unavailable) or isinstance(raised, Unavailable):
        return signal
    return lambda count: signal(count) + raised(count)


def caught(call: str, **names: object) -> Batch | Unavailable:
    """Return a batch of a call that faults, and of a look at all that the exception says."""
    fields = "error.address; error.access; error.transferred; error.size; error.reason; error.signal"
    return python(f"try: {call}\nexcept FaultError as error: {fields}", FaultError=FaultError, **names)


def test_fault(compare: Compare, bars: Bars, memory: Memory, rivals: Rivals) -> None:
    """A fault at the first byte."""
    names: dict[str, Any] = {"addr": NOT_MAPPED}
    guarded = {
        "copy_from_user": caught("copy(addr, 64)", copy=uaccess.copy_from_user, **names),
        "copy_to_user": caught("copy(addr, data)", copy=uaccess.copy_to_user, data=bytes(64), **names),
        "get_user": caught("get_user(addr, c_uint64)", get_user=uaccess.get_user, c_uint64=c_uint64, **names),
    }
    samples = compare(
        "From the call to the caught exception and its fields",
        {
            **guarded,
            FLOOR: floor(memory, rivals),
            "copy_from_user(partial=True)": python(
                "copy(addr, 64, partial=True)", copy=uaccess.copy_from_user, **names
            ),
            "probe_read": python("probe_read(addr, 64)", probe_read=uaccess.probe_read, **names),
            "process_vm_readv, its result": rivals.process_vm_readv(NOT_MAPPED, memory.own, 64),
            "os.pread of /proc/self/mem": rivals.memory_file(
                "try: pread(file, 64, addr)\nexcept OSError: pass", **names
            ),
            "PyMemoryEditor": rivals.editor("try: read(addr, bytes, 64)\nexcept OSError: pass", **names),
        },
        seconds=2,
    )
    for name in guarded:
        bars.ratio(f"a fault in {name}", samples, name, to=FLOOR, at_most=1.5)
