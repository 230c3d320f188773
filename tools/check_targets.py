# SPDX-License-Identifier: MIT
"""Compile the C library for systems that have no Python here, and link a program that catches faults with it.

``check_targets.py PREFIX ...``: the platforms of ``zig.py`` that begin so.  For musl the program is run as well, linked
statically and, by musl's own loader, dynamically; by qemu where the processor is another.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from debian_packages import ARCHITECTURES, SUITE, making, own_architecture, unpack
from emulator import emulator
from programs import ROOT, CheckError, SkipError, check_in_scratch, last_line, output_of
from zig import TARGETS, Target, find_zig, write_toolchain

PROGRAM = ROOT / "tests" / "native_program" / "faults.c"


def flags_of(target: Target) -> list[str]:
    """Return what the program is compiled with, and, where that is static, the library as well."""
    flags = ["-std=gnu11", "-O2", "-g0", "-D_GNU_SOURCE", "-fno-delete-null-pointer-checks", "-pthread"]
    return ["-target", target.triple, *flags, "-Wall", "-Wextra"]


def build_library(zig: Path, target: Target, folder: Path) -> Path:
    """Build the library as the package does, with every warning an error."""
    built = folder / "library"
    ninja = shutil.which("ninja", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    toolchain = write_toolchain(zig, target, folder)
    configure = ("cmake", "-S", ROOT, "-B", built, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}")
    output_of([*configure, f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DAXPTR_WERROR=ON"])
    output_of(["cmake", "--build", built])
    return next(path for path in built.iterdir() if path.name.startswith("libaxptr_native."))


def link(zig: Path, target: Target, program: Path, *inputs: str | Path) -> Path:
    """Compile and link the program."""
    output_of([zig, "cc", *flags_of(target), f"-I{ROOT / 'native'}", PROGRAM, *inputs, "-o", program])
    return program


def runner_of(target: Target) -> list[Path]:
    """Return what runs a program of this processor here, which may be nothing.

    Raises:
        SkipError: It is not to be had.
    """
    return [] if target.processor == platform.machine() else [emulator(target.processor)]


def loader_of(target: Target, folder: Path) -> Path:
    """Return musl's loader, of a Debian package that is unpacked into the folder.

    Raises:
        SkipError: It is not to be had.
    """
    architecture = ARCHITECTURES[target.processor]
    with making(folder / "musl") as made:
        unpack([f"musl:{architecture}"], SUITE, list(dict.fromkeys((own_architecture(), architecture))), made)
    return next((folder / "musl").glob("usr/lib/*-linux-musl/libc.so"))


def run_against(library: Path, target: Target, folder: Path) -> str:
    """Link the program to a shared library for musl and run it by musl's loader; return what came of it."""
    zig = find_zig()
    if zig is None:
        raise AssertionError("looked up before")
    program = link(zig, target, folder / "dynamic", library, f"-Wl,-rpath,{library.parent}")
    try:
        runner, loader = runner_of(target), loader_of(target, folder)
    except SkipError as reason:
        return f"not run: {reason}"
    return last_line(output_of([*runner, loader, "--library-path", library.parent, program]))


def check(zig: Path, name: str, folder: Path) -> None:
    """Check a platform and print a line for each thing that was tried."""
    target = TARGETS[name]
    library = build_library(zig, target, folder)
    program = link(zig, target, folder / "linked", library)
    print(f"{name}: {library.name} and a program compiled and linked ({program.stat().st_size} bytes)", flush=True)
    if "musl" not in target.triple:
        print(f"{name}: not run: nothing here runs programs of {target.system}", flush=True)
        return
    sources = sorted(path for path in (ROOT / "native").glob("*.c") if "windows" not in path.name)
    static = link(zig, target, folder / "static", "-static", *sources)
    try:
        print(f"{name}, static: {last_line(output_of([*runner_of(target), static]))}", flush=True)
    except SkipError as reason:
        print(f"{name}, static: not run: {reason}", flush=True)
    print(f"{name}, dynamic: {run_against(library, target, folder)}", flush=True)


def check_all(prefixes: Sequence[str], scratch: Path) -> int:
    """Check the platforms whose names begin so and return the exit status."""
    zig = find_zig()
    missing = [name for name in ("cmake", "ninja") if importlib.util.find_spec(name) is None and not shutil.which(name)]
    if zig is None or missing:
        raise SkipError(f"{', '.join(missing) or 'ziglang'} not found")
    names = [name for name in TARGETS if name.startswith(tuple(prefixes))]
    if not names:
        raise CheckError(f"none of {', '.join(TARGETS)} begins with {prefixes}")
    for name in names:
        folder = scratch / name
        folder.mkdir()
        check(zig, name, folder)
    return 0


if __name__ == "__main__":
    sys.exit(check_in_scratch(lambda scratch: check_all(sys.argv[1:], scratch)))
