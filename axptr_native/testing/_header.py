# SPDX-License-Identifier: MIT
"""The line that tells what a test run's faults depend on."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from .._machine import cpu_name
from ..addr import PAGE_SIZE
from ..handlers import install

if TYPE_CHECKING:
    import pytest


def header_line(seed: int, *, verbose: bool, cache: pytest.Cache | None) -> str:
    """Put the handlers on top, and tell the processor, the page size, who handles the signals, and the seed.

    Whom the handlers on top would pass a signal on to is told when ``verbose``: finding the interpreter's own takes
    up to 0.1 s.
    """
    chains: dict[str, list[str]] = {}
    for signal, status in install().items():
        asked = status.handlers if verbose else status.handlers[:1]
        chains.setdefault(", then ".join(handler.name for handler in asked), []).append(signal.name)
    handled = "; ".join(f"{' and '.join(names)}: {chain}" for chain, names in chains.items())
    return f"axptr-native: {quick_cpu_name(cache)}; pages of {PAGE_SIZE} bytes; {handled}; --axptr-seed={seed}"


def quick_cpu_name(cache: pytest.Cache | None, source: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name without a second's wait at each run.

    Linux has it in a file, on most processors; what ``cpu_name()`` finds on the others is kept in pytest's cache.
    Without either it is the processor's kind.
    """
    with contextlib.suppress(OSError), source.open() as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if cache is None:
        return platform.machine()
    key = f"axptr-native/cpu-{platform.node()}"  # a checkout may be shared between machines
    name = cache.get(key, None)
    if not isinstance(name, str):
        name = cpu_name()
        cache.set(key, name)
    return name
