# SPDX-License-Identifier: MIT
"""What the machine is called."""

from __future__ import annotations

import platform


def cpu_name() -> str:
    """Return the processor's name; py-cpuinfo knows it best, when it is installed, and takes more than a second."""
    try:
        import cpuinfo
    except ImportError:
        return platform.processor() or platform.machine()
    brand = cpuinfo.get_cpu_info().get("brand_raw")
    return str(brand or platform.machine())
