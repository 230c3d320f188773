# SPDX-License-Identifier: MIT
"""What surrounds an access stays as it was: floating point, errno, signals, stacks; and a good one costs no call."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from child import check, clean_environment, run, run_command
from helpers_memory import require
from helpers_python import IS_PYPY

from axptr_native._regions import Ending

STATE = """
import ctypes, faulthandler, sys
from child import *
no_core_dump()
import axptr_native
from axptr_native import _native
from axptr_native._regions import Ending, ending_memory

class State(ctypes.Structure):
    _fields_ = [
        ("mxcsr", ctypes.c_uint32), ("x87", ctypes.c_uint32), ("rounding", ctypes.c_int32), ("errno", ctypes.c_int32),
        ("mask", ctypes.c_uint64), ("stack", ctypes.c_uint64), ("stack_size", ctypes.c_uint64),
        ("stack_flags", ctypes.c_int32), ("result", ctypes.c_int32),
    ]

    def fields(self):
        return {name: getattr(self, name) for name, *_ in self._fields_ if name != "result"}

library = hostile(sys.argv[1])
observe = library.hostile_copy_in_odd_state
observe.argtypes = [ctypes.c_void_p] * 4 + [ctypes.POINTER(State)] * 2
buffer = ctypes.create_string_buffer(8192)

def observed(copy, start, size):
    before, after = State(), State()
    observe(copy, ctypes.addressof(buffer), start, size, before, after)
    assert before.errno == 4321 and before.mask and before.rounding, before.fields()
    return before.fields(), after.fields(), after.result

def unchanged(copy, start, size, result=-14):
    before, after, found = observed(copy, start, size)
    assert found == result, found
    assert before == after, (before, after)
"""


@pytest.mark.parametrize(
    "company",
    ["", "library.hostile_alternate_stack()", "faulthandler.enable(); _native.install()", "faulthandler.enable()"],
    ids=["bare", "alternate-stack", "faulthandler", "faulthandler-on-top"],
)
@pytest.mark.parametrize("ending", ["HOLE", "PROTECTION", "END_OF_FILE"])
@pytest.mark.parametrize("offset", [13, 4096 + 13, 0], ids=["first-page", "later-page", "at-once"])
def test_a_caught_fault_leaves_the_threads_state_alone(
    company: str, ending: str, offset: int, hostile_library: Path, tmp_path: Path
) -> None:
    """MXCSR, x87 control word, rounding, true errno, mask and alternate stack are the same after a fault as before."""
    require(Ending[ending])
    code = f"""
{company}
copy = address_of(_native.lib.axp_copy_from_user)
with ending_memory(Ending.{ending}) as region:
    for _ in range(3):
        unchanged(copy, region.edge - {offset}, 8000)
"""
    check(run(STATE + code, hostile_library, cwd=tmp_path))


@pytest.mark.parametrize(
    ("start", "size", "result"),
    [("ctypes.addressof(buffer)", 100, 0), ("1 << 62", 64, -14), ("2**64 - 8", 64, -14), ("16", 64, -14)],
    ids=["success", "not-canonical", "overflow", "null-page"],
)
def test_every_other_end_of_an_access_leaves_the_threads_state_alone(
    start: str, size: int, result: int, hostile_library: Path, tmp_path: Path
) -> None:
    """The same holds for an access that succeeds, is refused, or faults without an address."""
    code = f"""
unchanged(address_of(_native.lib.axp_copy_from_user), {start}, {size}, {result})
unchanged(address_of(_native.lib.axp_raw_copy_from_user), {start}, {size}, {result})
"""
    check(run(STATE + code, hostile_library, cwd=tmp_path))


def test_taking_over_leaves_the_threads_state_alone(hostile_library: Path, tmp_path: Path) -> None:
    """The access that finds somebody else on top, and goes back on top, changes neither errno nor the rest."""
    code = """
import signal
copy = address_of(_native.lib.axp_copy_from_user)
for disposition in (signal.SIG_IGN, signal.SIG_DFL) * 3:
    signal.signal(signal.SIGSEGV, disposition)
    wait_for(
        lambda: unchanged(copy, ctypes.addressof(buffer), 64, 0)
        or axptr_native.handlers.status()[signal.SIGSEGV].on_top,
        "not on top",
    )
"""
    check(run(STATE + code, hostile_library, cwd=tmp_path))


ACCESSES = """
import ctypes, os, sys, time
from child import no_core_dump
no_core_dump()
import axptr_native
from axptr_native.uaccess import copy_from_user, get_user, put_user
good = ctypes.create_string_buffer(64)
address, c_long = ctypes.addressof(good), ctypes.c_long
def accesses(count):
    for _ in range(count // 2):
        get_user(address, c_long)
        copy_from_user(address, 16)
CLOCK_MONOTONIC_COARSE = 6  # which the time module does not name
accesses(1000)
start = time.monotonic()
os.write(1, b"start")
accesses(int(sys.argv[1]))
os.write(1, b"end")
os.write(2, str((time.monotonic() - start) / time.clock_getres(CLOCK_MONOTONIC_COARSE)).encode())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="strace is Linux's")
def test_good_accesses_make_no_system_calls_but_a_few_at_each_tick(tmp_path: Path) -> None:
    """200,000 accesses make at most three calls a tick of the coarse clock: two looks at who is on top and the mask."""
    tracer = shutil.which("strace")
    if tracer is None:
        pytest.skip("there is no strace")
    usable = run_command([tracer, "-o", "probe", "true"], cwd=tmp_path)
    if usable.returncode != 0:
        pytest.skip(f"strace cannot trace here: {usable.stderr.strip()}")
    command = [tracer, "-f", "-o", "calls", "-e", "signal=none", sys.executable, "-c", ACCESSES, "200000"]
    ticks = float(check(run_command(command, cwd=tmp_path)).stderr)
    text = (tmp_path / "calls").read_text()
    calls = re.findall(r"^(?:\d+ +)?(\w+)\(", text[text.index('"start"') : text.index('"end"')], re.MULTILINE)
    looks = [call for call in calls if call in ("rt_sigaction", "rt_sigprocmask")]
    own = ("brk", "mmap", "munmap") if IS_PYPY else ()  # whose collector asks for its memory all the time
    others = [call for call in calls if call not in ("rt_sigaction", "rt_sigprocmask", *own)]
    assert len(looks) <= 3 * (ticks + 2), (len(looks), ticks)
    assert len(others) < 50, others


def test_thread_local_storage_is_small(tmp_path: Path) -> None:
    """Static thread-local storage is scarce for a loaded library: ours takes less than 512 bytes a thread."""
    reader = shutil.which("readelf")
    if reader is None:
        pytest.skip("there is no readelf")
    code = "import os\nfrom axptr_native import _native\nprint(os.path.abspath(_native.lib._name))"
    path = check(run(code, cwd=tmp_path)).stdout.strip()
    headers = check(run_command([reader, "-lW", path], cwd=tmp_path, environment={"LC_ALL": "C"})).stdout
    segments = [line.split() for line in headers.splitlines() if line.split()[:1] == ["TLS"]]
    assert len(segments) == 1
    assert 0 < int(segments[0][5], 16) < 512


def test_more_libraries_with_thread_local_storage_of_this_size_can_be_loaded(tmp_path: Path) -> None:
    """Three further copies of the library load late, and each keeps a fault record of its own in each thread."""
    code = """
import ctypes, errno, shutil, threading
import axptr_native
from axptr_native import _native
copies = []
for number in range(3):
    shutil.copy(_native.lib._name, f"copy{number}.so")
    copies.append(_native._bind(_native._KEEPING(f"./copy{number}.so")))
source, buffer = ctypes.create_string_buffer(b"source"), ctypes.create_string_buffer(8)
def body():
    for number, copy in enumerate(copies):
        assert copy.axp_copy_from_user(ctypes.addressof(buffer), _native.ADDRESS_MAX - 3 - number, 8) == -errno.EFAULT
    for number, copy in enumerate(copies):
        fault = _native.Fault()
        assert copy.axp_take_fault(fault) == 0
        assert fault.address == _native.ADDRESS_MAX - 3 - number
        assert copy.axp_take_fault(fault) == -errno.ENOENT
        assert copy.axp_copy_from_user(ctypes.addressof(buffer), ctypes.addressof(source), 7) == 0
        assert buffer.value == b"source"
    passed.append(True)
passed = []
thread = threading.Thread(target=body)
body(); thread.start(); thread.join()
print(len(passed))
"""
    assert check(run(code, cwd=tmp_path)).stdout == "2\n"


def test_a_child_sees_a_clean_environment() -> None:
    """What turns faulthandler on in this process does not reach the children that these tests start."""
    assert not {"PYTHONFAULTHANDLER", "PYTHONDEVMODE"} & clean_environment().keys()
