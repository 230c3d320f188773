# SPDX-License-Identifier: MIT
"""Python in a child process, for what ends a process or must not: how to run it, and what it does there.

The functions of the second half run in the child.  They import the package only when they are called, because when it
is imported is what many tests are about.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from helpers_processor import SLOWER, TELLS_END_OF_FILE

BANNER = "Fatal Python error"
HANG = 10 * SLOWER
"""Seconds after which a process that should have ended counts as hanging."""

LONG = 60 * SLOWER
"""Seconds that anything else may take."""

FAULTS = [signal.SIGSEGV]
"""The signals of which faults are told exactly."""

if sys.platform != "win32" and TELLS_END_OF_FILE:  # Windows has one signal for all
    FAULTS.append(signal.SIGBUS)


class Outcome(NamedTuple):
    """How a child ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def banners(self) -> int:
        return self.stderr.count(BANNER)


def run(
    code: str,
    *arguments: object,
    cwd: Path,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    timeout: float = LONG,
) -> Outcome:
    """Run a snippet in a new interpreter without faulthandler, unless told otherwise.  A child that hangs fails."""
    command = [sys.executable, *options, "-c", textwrap.dedent(code), *map(str, arguments)]
    return run_command(command, cwd=cwd, environment=environment, timeout=timeout)


def run_command(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None, timeout: float = LONG
) -> Outcome:
    """Run a program to its end."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment() | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, own_words(done.stderr))


def clean_environment() -> dict[str, str]:
    """Return this environment without what turns faulthandler on or steers pytest, and with this file importable."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    for name in ("PYTHONFAULTHANDLER", "PYTHONDEVMODE", "PYTHONWARNINGS"):
        kept.pop(name, None)
    paths = [str(Path(__file__).parent), *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths)}


def own_words(said: str) -> str:
    """Return what a process said, without what an emulator says of its death."""
    return "".join(line for line in said.splitlines(keepends=True) if not line.startswith("qemu: uncaught target "))


def check(outcome: Outcome, returncode: int = 0) -> Outcome:
    """Assert how the child ended, and show what it said if not so."""
    assert outcome.returncode == returncode, f"ended with {outcome.returncode}\n{outcome.stdout}{outcome.stderr}"
    return outcome


CRASHING = "import ctypes, faulthandler, os, signal, sys, threading, time\nfrom child import *\nno_core_dump()\n"


def ends(code: str, returncode: int, tmp_path: Path, *arguments: object) -> Outcome:
    """Run code that is to crash, or not, in a child, and assert how it ended."""
    return check(run(CRASHING + code, *arguments, cwd=tmp_path, timeout=HANG), returncode)


# ---- In the child. ----


def no_core_dump() -> None:
    """Have a crash leave no file where the system would write one."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def hostile(path: str) -> Any:
    """Load the compiled helper, with prototypes."""
    library = getattr(ctypes, "PyDLL", ctypes.CDLL)(path)
    address, size = ctypes.c_void_p, ctypes.c_void_p
    for name, arguments in {
        "hostile_install": (ctypes.c_int, ctypes.c_char_p),
        "hostile_write": (address,),
        "hostile_write_and_protect": (address, size),
        "hostile_try": (address, size),
        "hostile_try_copy": (address, address, address, size),
        "hostile_copy_at_depth": (address, address, address, size, size),
        "hostile_alarm_faults": (address, address, ctypes.c_int),
        "hostile_alarm_recovers": (address, address, ctypes.c_int),
        "hostile_alarm_copies": (address, address, address, ctypes.c_int),
        "hostile_hammer": (address, ctypes.c_int),
        "hostile_hammer_install": (address, ctypes.c_int),
    }.items():
        getattr(library, name).argtypes = arguments
    library.hostile_calls.restype = ctypes.c_uint64
    return library


def address_of(function: Any) -> int:
    """Return where a function of a library is."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def guarded_fault(number: signal.Signals) -> None:
    """Make a guarded access fault with SIGSEGV or SIGBUS and check every field of the exception."""
    from axptr_native._regions import Ending, ending_memory

    ending = Ending.HOLE if number is signal.SIGSEGV else Ending.END_OF_FILE
    with ending_memory(ending) as region:
        fault_exactly(region.edge, ending.value, number)


def guarded_faults() -> None:
    """Make guarded accesses fault with each signal and check every field of the exceptions."""
    for number in FAULTS:
        guarded_fault(number)


def fault_exactly(edge: int, reason: Any, number: int, good: int = 13) -> None:
    """Read over an edge, and check every field of the exception."""
    from axptr_native import FaultError, MappingFlags
    from axptr_native.uaccess import copy_from_user

    try:
        copy_from_user(edge - good, 64)
    except FaultError as error:
        found = (error.address, error.transferred, error.reason, error.signal, error.access, error.size)
    else:
        raise AssertionError("an access to bad memory succeeded")
    assert found == (edge, good, reason, number, MappingFlags.READ, 64), found


def unguarded_fault(number: signal.Signals) -> None:
    """Touch bad memory as anybody would: the process should not survive."""
    if number is not signal.SIGSEGV:
        truncated_mapping()[0]
    else:
        ctypes.memmove(ctypes.create_string_buffer(1), 0, 1)


def truncated_mapping() -> mmap.mmap:
    """Return a mapping of two pages whose file has become empty."""
    with tempfile.TemporaryFile() as file:
        file.truncate(2 * mmap.PAGESIZE)
        mapping = mmap.mmap(file.fileno(), 2 * mmap.PAGESIZE)
        file.truncate(0)
    return mapping


def wait_until_on_top() -> None:
    """Access good memory until the library has noticed that somebody else is on top, for at most two seconds."""
    from axptr_native.handlers import status

    wait_for(lambda: all(entry.on_top for entry in status().values()), "the handlers are not on top again")


def wait_for(condition: Callable[[], bool], failure: str) -> None:
    """Access good memory until a condition holds, for at most two seconds."""
    from axptr_native.uaccess import copy_from_user

    good = ctypes.create_string_buffer(8)
    deadline = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < deadline, failure
        copy_from_user(ctypes.addressof(good), 8)


def in_forks(cases: Iterable[str], body: Callable[[str], object]) -> None:
    """Run each case in a fork of its own and print how it ended: a line of JSON each."""
    for case in cases:
        # Unbuffered: free-threaded Python 3.13 yields forty times to close a buffered file.
        with tempfile.TemporaryFile(buffering=0) as said:
            pid = os.fork()
            if pid == 0:
                _be_a_fork(said.fileno(), case, body)
            _, status = os.waitpid(pid, 0)
            said.seek(0)
            text = said.read().decode(errors="replace")
        print(json.dumps([case, os.waitstatus_to_exitcode(status), text]))


def _be_a_fork(stderr: int, case: str, body: Callable[[str], object]) -> None:
    os.dup2(stderr, 2)
    signal.alarm(HANG)
    try:
        body(case)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def fork_outcomes(driver: Outcome) -> dict[str, Outcome]:
    """Return what in_forks() printed, by case."""
    check(driver)
    entries = [json.loads(line) for line in driver.stdout.splitlines()]
    return {case: Outcome(returncode, "", own_words(text)) for case, returncode, text in entries}
