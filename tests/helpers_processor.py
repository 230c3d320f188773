# SPDX-License-Identifier: MIT
"""Tests that a processor, or its emulator, cannot run, and why."""

import ctypes
import os
import platform

EMULATED = "AXPTR_EMULATED" in os.environ
"""Whether qemu runs this, as ``tools/foreign.py`` tells: nothing else does."""

SLOWER = 10 if EMULATED else 1
"""How much longer than elsewhere what ends may take."""

PROCESSOR = "i386" if ctypes.sizeof(ctypes.c_void_p) == 4 and platform.machine() == "x86_64" else platform.machine()
"""The system names the processor of a 32-bit program on x86-64 as that of others."""

ONCE_MORE = "the suite is not run once more under an emulator, where it takes long"

_IN_32_BITS = {
    "test_bad_input.py::test_addresses_that_no_processor_forms_fault": "in 32 bits a processor forms every address",
    "test_paging.py::test_a_pager_area_without_room_leaves_nothing_behind": "in 32 bits no area is too large",
}

_EMULATED = {
    "test_builtins.py::test_the_suite_passes_on_the_other_path": ONCE_MORE,
}

_OF: dict[str, dict[str, str]] = {}

_OF_EMULATED: dict[str, dict[str, str]] = {}

NOT_ON_PROCESSOR = {
    **(_IN_32_BITS if ctypes.sizeof(ctypes.c_void_p) == 4 else {}),
    **_OF.get(PROCESSOR, {}),
    **(_EMULATED if EMULATED else {}),
    **(_OF_EMULATED.get(PROCESSOR, {}) if EMULATED else {}),
}
"""Files, and tests of files: why they are skipped."""
