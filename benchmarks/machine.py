# SPDX-License-Identifier: MIT
"""The machine that measures."""

from __future__ import annotations

import datetime
import os
import platform
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version

from axptr_native._machine import cpu_name
from axptr_native._native import lib

_PACKAGES = ("axptr-native", "cffi", "PyMemoryEditor")


def interpreter() -> str:
    """Return the name by which a run of this interpreter replaces an older one."""
    threading = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}{threading}"


def describe() -> dict[str, str]:
    """Return what a measurement depends on, by name."""
    return {
        "processor": f"{cpu_name()}, {os.cpu_count()} CPUs",
        "kernel": f"{platform.system()} {platform.release()}",
        "C library": " ".join(platform.libc_ver()),
        "Python": f"{platform.python_version()}, {platform.python_compiler()}",
        "compiler of the library": lib.axp_compiler().decode(),
        **{package: _version(package) for package in _PACKAGES},
        "load, ours included": f"{os.getloadavg()[1]:.1f}" if hasattr(os, "getloadavg") else "not told",
        "measured on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
