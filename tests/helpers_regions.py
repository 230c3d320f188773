# SPDX-License-Identifier: MIT
"""The kit's regions by name, and what a process has mapped and open because of them."""

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from helpers_platform import MAPS, c_library
from helpers_processor import TELLS_END_OF_FILE

from axptr_native._regions import EMPTY, ENDINGS, Ending
from axptr_native.testing import (
    Region,
    SweepKind,
    guard_page_after,
    guard_page_before,
    hole,
    no_access,
    read_only,
    straddling,
    truncated_file,
)

LIBC = c_library()

Maker = Callable[[bytes], AbstractContextManager[Region]]

ENDED: dict[str, Maker] = {
    "guard_page_after": guard_page_after,
    "truncated_file": truncated_file,
    "straddling": lambda data: straddling(data + b"more", len(data)),
}
"""Those whose data ends at the edge."""

if Ending.END_OF_FILE not in ENDINGS or not TELLS_END_OF_FILE:
    del ENDED["truncated_file"]

MADE = tuple(kind for kind in SweepKind if kind is not SweepKind.TRUNCATED_FILE or Ending.END_OF_FILE in ENDINGS)
"""The kinds that sweeps can make here."""

KINDS = tuple(kind for kind in MADE if kind is not SweepKind.TRUNCATED_FILE or TELLS_END_OF_FILE)
"""Those whose edge can be touched."""

TRUNCATED = [truncated_file] if "truncated_file" in ENDED else []
"""It, where it can be made."""

MAKERS: dict[str, Maker] = {
    **ENDED,
    "aligned": lambda data: guard_page_after(data, 16),
    "guard_page_before": guard_page_before,
    "read_only": read_only,
    "no_access": lambda data: no_access(len(data)),
    "hole": lambda _data: hole(),
}
"""All that are there on every processor."""

if sys.platform == "win32":
    from ctypes import wintypes

    _kernel32 = ctypes.WinDLL("kernel32")
    _FREE = 0x10000

    class _Information(ctypes.Structure):
        """``MEMORY_BASIC_INFORMATION``."""

        _fields_ = (
            ("start", ctypes.c_size_t),
            ("allocated", ctypes.c_size_t),
            ("allocated_protection", wintypes.DWORD),
            ("size", ctypes.c_size_t),
            ("state", wintypes.DWORD),
            ("protection", wintypes.DWORD),
            ("type", wintypes.DWORD),
        )

    needs_maps = pytest.mark.skipif(False, reason=MAPS)

    def left() -> object:
        """Return what would show a leak: what is mapped where regions are put, and the number of handles."""
        mapped, address, information = [], EMPTY[0], _Information()
        while address < EMPTY[1]:
            size = ctypes.c_size_t(ctypes.sizeof(information))
            assert _kernel32.VirtualQuery(ctypes.c_void_p(address), ctypes.byref(information), size)
            if information.state != _FREE:
                mapped.append((address, information.size, information.state, information.protection))
            address = information.start + information.size
        handles = wintypes.DWORD()
        assert _kernel32.GetProcessHandleCount(ctypes.c_void_p(-1), ctypes.byref(handles))
        return mapped, handles.value
else:
    _MAPS = Path("/proc/self/maps")

    needs_maps = pytest.mark.skipif(not _MAPS.exists(), reason=MAPS)

    def left() -> object:
        """Return what would show a leak: the mappings where regions are put, and the number of open files."""
        lines = _MAPS.read_text(encoding="utf-8").splitlines()
        mapped = [line for line in lines if EMPTY[0] <= int(line.partition("-")[0], 16) < EMPTY[1]]
        return mapped, len(os.listdir("/proc/self/fd"))  # noqa: PTH208
