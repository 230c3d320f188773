# SPDX-License-Identifier: MIT
"""Platforms that zig's C compiler builds for from here; ``pip install ziglang`` brings it and their C libraries."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import NamedTuple


class Target(NamedTuple):
    """A platform, by the names that zig, CMake and the wheel's tag have for it."""

    triple: str
    system: str
    processor: str
    tag: str = ""
    """Empty where the index takes no wheels for it."""


TARGETS = {
    # The oldest glibc that every Python from 3.10 on runs on.
    "manylinux-x86_64": Target("x86_64-linux-gnu.2.17", "Linux", "x86_64", "manylinux_2_17_x86_64"),
    "manylinux-aarch64": Target("aarch64-linux-gnu.2.17", "Linux", "aarch64", "manylinux_2_17_aarch64"),
    "musllinux-x86_64": Target("x86_64-linux-musl", "Linux", "x86_64", "musllinux_1_2_x86_64"),
    "musllinux-aarch64": Target("aarch64-linux-musl", "Linux", "aarch64", "musllinux_1_2_aarch64"),
    "macos-arm64": Target("aarch64-macos.11.0", "Darwin", "arm64", "macosx_11_0_arm64"),
    "macos-x86_64": Target("x86_64-macos.10.15", "Darwin", "x86_64", "macosx_10_15_x86_64"),
    "windows-x86_64": Target("x86_64-windows-gnu", "Windows", "AMD64", "win_amd64"),
    "freebsd-x86_64": Target("x86_64-freebsd", "FreeBSD", "amd64"),
    "freebsd-aarch64": Target("aarch64-freebsd", "FreeBSD", "aarch64"),
}


def find_zig() -> Path | None:
    """Return the compiler's file, or None if it is not installed."""
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        return None
    return Path(package.origin).parent / "zig"


def write_toolchain(zig: Path, target: Target, folder: Path) -> Path:
    """Write what tells CMake to compile for a platform, and return the file."""
    file = folder / f"{target.triple}.cmake"
    file.write_text(
        f"set(CMAKE_SYSTEM_NAME {target.system})\n"
        f"set(CMAKE_SYSTEM_PROCESSOR {target.processor})\n"
        f'set(CMAKE_C_COMPILER "{zig}" cc)\n'
        f"set(CMAKE_C_COMPILER_TARGET {target.triple})\n"
        # Of its own accord it adds debug information, and with it the folder's name.
        "set(CMAKE_C_FLAGS_INIT -g0)\n"
        f'set(CMAKE_SHARED_LINKER_FLAGS_INIT "{linker_flags(zig, target, folder)}")\n'
        # A program would be linked statically to musl, for which zig compiles all of that first.
        "set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)\n"
        # What would be asked of the machine that builds, which is another system.
        "set(CMAKE_OSX_SYSROOT /)\n"
        "set(CMAKE_INSTALL_NAME_TOOL nothing-is-renamed)\n"
        "set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)\n",
        encoding="utf-8",
    )
    return file


def linker_flags(zig: Path, target: Target, folder: Path) -> str:
    """Return what a shared library is linked with.

    On Windows zig has a memcpy, and its like, of its own, which no exception gets through: it takes what it sees above
    them for the caller.  So the C library's are named first.  And the debug information there is in a file of its own,
    whose hash, of folders' names too, would be in the library.
    """
    if target.system != "Windows":
        return ""
    names = folder / "copies.def"
    names.write_text("LIBRARY ucrtbase.dll\nEXPORTS\nmemcmp\nmemcpy\nmemmove\nmemset\n", encoding="utf-8")
    library = folder / "libcopies.a"
    subprocess.run([zig, "dlltool", "-m", "i386:x86-64", "-d", names, "-l", library], check=True)
    return f"-s {library}"
