# SPDX-License-Identifier: MIT
"""What the package costs a process: the import, and system calls."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bars import Bars
    from comparing import Compare
    from interleave import Batch

pytest_plugins = ("recording", "comparing")

PART = "Process"

IMPORT_MAY_ADD = 15e-3
READS = 100_000
COARSE_CLOCK = 6
"""Linux's CLOCK_MONOTONIC_COARSE."""


def fresh_python(code: str, folder: Path) -> Batch:
    """Return a batch of processes that run ``code``; outside the checkout, whose sources would hide the package."""

    def batch(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
        return time.perf_counter() - start

    return batch


def test_import(compare: Compare, bars: Bars, tmp_path: Path) -> None:
    """A process that imports the package, against one that imports ctypes."""
    names = ("ctypes", "axptr_native")
    alternatives = {f"import {name}": fresh_python(f"import {name}", tmp_path) for name in names}
    samples = compare("A process that imports and ends", alternatives, seconds=5)
    bars.added("import axptr_native", samples, "import axptr_native", to="import ctypes", at_most=IMPORT_MAY_ADD)


AUDITED_IMPORT = """
import sys

starts = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "pty.spawn", "subprocess.Popen"}
started = []
sys.addaudithook(lambda event, arguments: started.append(event) if event in starts else None)
import axptr_native
print(len(started))
"""


def test_import_starts_no_process(bars: Bars, tmp_path: Path) -> None:
    """Nothing is compiled or looked up by other programs at import."""
    command = [sys.executable, "-c", AUDITED_IMPORT]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    bars.count("processes started by import axptr_native", int(ran.stdout), at_most=0)


MARKED_READS = f"""
import ctypes, os, time
from axptr_native.uaccess import copy_from_user

buffer = ctypes.create_string_buffer(8)
addr = ctypes.addressof(buffer)
os.getppid()
start = time.monotonic()
for _ in range({READS}):
    copy_from_user(addr, 8)
took = time.monotonic() - start
os.getppid()
print(int(took / time.clock_getres({COARSE_CLOCK})) + 2)
"""


def test_system_calls(bars: Bars, tmp_path: Path) -> None:
    """Reads that succeed ask the system for nothing, but for a look at the handlers each tick of the coarse clock."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("there is no strace to count system calls")
    trace = tmp_path / "trace"
    ran = subprocess.run(
        [strace, "-o", trace, sys.executable, "-c", MARKED_READS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        pytest.skip(f"strace does not work here: {ran.stderr.strip()}")
    _, between, _ = trace.read_text().split("getppid()")
    calls = Counter(re.findall(r"^(\w+)\(", between, re.MULTILINE))
    seen = ", ".join(f"{count} {name}" for name, count in sorted(calls.items())) or "none"
    ticks = int(ran.stdout)
    bars.count(
        f"system calls in {READS:,} reads, a tick",
        -(-calls.total() // ticks),
        at_most=3,
        note=f" ({seen} in {ticks} ticks)",
    )
