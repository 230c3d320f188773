# SPDX-License-Identifier: MIT
"""What cannot hold on a Python, and why: the tests that are skipped there.  docs/platforms.md has each reason."""

from __future__ import annotations

import sys
import sysconfig
from fnmatch import fnmatchcase

ALLOCATOR = "without the GIL the interpreter's own memory comes and goes in mappings"
SENT = "a signal that another thread sends during an access that faults is taken for faulthandler's"

FREE_THREADED = {
    "test_mapping_limit.py::*": ALLOCATOR,
    "test_protect_limit.py::*": ALLOCATOR,
    "test_region_leaks.py::test_without_mappings_nothing_is_left": ALLOCATOR,
    "test_crashes.py::test_a_signal_from_another_thread_kills_a_busy_one[[]*-fault]": SENT,
}

PYPY: dict[str, str] = {}


def reason_to_skip(test: str) -> str | None:
    """Return why a test, by its file's name and its own, cannot hold on this Python, or None."""
    known = {}
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        known = FREE_THREADED
    elif sys.implementation.name == "pypy":
        known = PYPY
    return next((reason for pattern, reason in known.items() if fnmatchcase(test, pattern)), None)
