# SPDX-License-Identifier: MIT
"""Everything at once, in threads, which run at the same time where there is no GIL."""

import os
import sys
from pathlib import Path

from child import check, run, run_command

SECONDS = float(os.environ.get("AXPTR_STRESS_SECONDS", "3"))


def test_threads_that_do_everything_at_once_are_told_what_is_true(hostile_library: Path, tmp_path: Path) -> None:
    """For some seconds, or AXPTR_STRESS_SECONDS, eight threads see their own bytes, faults and pages, and no others."""
    script = Path(__file__).parent / "stress.py"
    command = [sys.executable, str(script), str(hostile_library), str(SECONDS)]
    outcome = check(run_command(command, cwd=tmp_path, timeout=SECONDS + 60))
    print(outcome.stdout)
    assert outcome.stderr == ""


def test_importing_everything_leaves_the_gil_as_it_was(tmp_path: Path) -> None:
    """An interpreter without the GIL does not turn it on for the package's sake."""
    code = """
    import pkgutil, sys, warnings
    warnings.simplefilter("error")
    is_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    before = is_enabled()
    import axptr_native, axptr_native.testing, axptr_native_pytest
    for package in (axptr_native, axptr_native.testing):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            if not module.name.endswith(("__main__", "libaxptr_native")):  # which is no module
                __import__(module.name)
    print(before == is_enabled())
    """
    assert check(run(code, cwd=tmp_path)).stdout == "True\n"
