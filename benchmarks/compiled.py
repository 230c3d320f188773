# SPDX-License-Identifier: MIT
"""The C side of the benchmarks, compiled for each run."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sysconfig
from ctypes import c_size_t, c_uint64, c_void_p
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

from interleave import Batch, Unavailable

import axptr_native

HERE = Path(__file__).parent
COMPILER = os.environ.get("CC") or "cc"


def compile_calls(folder: Path) -> ctypes.CDLL | Unavailable:
    """Return what is timed in C, linked against the installed library."""
    library = next(Path(axptr_native.__file__).parent.glob("libaxptr_native.*"))
    built = folder / "calls.so"
    failed = _compile(
        *("-D_GNU_SOURCE", f"-I{HERE.parent / 'native'}", HERE / "guarded_calls.c", HERE / "signal_floor.c"),
        *(library, f"-Wl,-rpath,{library.parent}", "-o", built),
    )
    return failed or ctypes.CDLL(str(built))


def compile_floor(folder: Path, *options: str) -> dict[str, Any] | Unavailable:
    """Return the functions of the floor extension, by name; ``folder`` is made."""
    headers = sysconfig.get_path("include")
    if not (Path(headers) / "Python.h").exists():
        return Unavailable("this Python's headers are not installed")
    folder.mkdir()
    built = folder / "floor.so"
    failed = _compile(f"-I{headers}", *options, HERE / "floor.c", "-o", built)
    if failed:
        return failed
    loader = ExtensionFileLoader("floor", str(built))
    spec = ModuleSpec("floor", loader, origin=str(built))
    module = module_from_spec(spec)
    loader.exec_module(module)
    return {name: function for name, function in vars(module).items() if not name.startswith("_")}


def in_c(calls: ctypes.CDLL | Unavailable, name: str, user: int, own: int, size: int) -> Batch | Unavailable:
    """Return a batch of a TIMED statement of the C files."""
    if isinstance(calls, Unavailable):
        return calls
    function = calls[f"time_{name}"]
    function.restype, function.argtypes = c_uint64, (c_uint64, c_void_p, c_void_p, c_size_t)

    def batch(count: int) -> float:
        return 1e-9 * int(function(count, user, own, size))

    return batch


def _compile(*arguments: object) -> Unavailable | None:
    if shutil.which(COMPILER) is None:
        return Unavailable(f"there is no C compiler {COMPILER!r}")
    options = ("-O3", "-Wall", "-Wextra", "-shared", "-fPIC")
    subprocess.run([COMPILER, *options, *map(str, arguments)], check=True)
    return None
