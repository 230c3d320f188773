# SPDX-License-Identifier: MIT
"""Pythons that a machine seldom has: fetched or built when they are asked for, and kept.  ``pythons.py py313t`` ...

Debian's come with the C library that they were built for, and are told where it is.  The free-threaded one, which
Debian has not got, is built from Debian's sources.  Nothing is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from debian_packages import CACHE, making, output_or_skip, own_architecture, require, unpack, unpack_sources
from programs import SkipError, require_usable

HOME = CACHE / "pythons"

OLDEST = (3, 10)
"""What the package asks for."""

MODULES = "import ctypes, ssl, zlib"
"""Those that need a library's headers to be built, without which nothing can be installed or tested."""

COMPILER = "gcc"


class Recipe(NamedTuple):
    """What a Python is called, and how one comes here."""

    program: str
    make: Callable[[Path], Path]
    """Into a folder of that name; returns the program."""


def unpacked(package: str, suite: str) -> Recipe:
    """Return the recipe for what a release of Debian has: the program is called as the package is."""

    def make(home: Path) -> Path:
        program = home / "usr" / "bin" / package
        if not home.exists():
            with making(home) as made:
                unpack([package, "ca-certificates", "patchelf"], suite, [own_architecture()], made)
                patch((made / "usr" / "bin" / package).resolve(), made, home)
        return program

    return Recipe(package, make)


def patch(program: Path, made: Path, home: Path) -> None:
    """Have a program use the C library, and the others, that were unpacked with it and will be in another folder."""
    (libraries,) = (found.parent for found in made.glob("usr/lib/*/libc.so.6"))
    (loader,) = libraries.glob("ld-linux*")
    # A path of the program's own alone would not be that of the modules that it loads.
    path = ("--force-rpath", "--set-rpath", home / libraries.relative_to(made))
    interpreter = ("--set-interpreter", home / loader.relative_to(made))
    patchelf = (loader, "--library-path", libraries, made / "usr" / "bin" / "patchelf")
    for change in (path, interpreter):  # patchelf 0.18 breaks a program by both at once, or the other way round
        output_or_skip([*patchelf, *change, program], f"{program.name} cannot be patched")


def free_threaded(version: str, suite: str) -> Recipe:
    """Return the recipe for a Python without the GIL, from the sources that a release of Debian has."""
    program = f"python{version}t"

    def make(home: Path) -> Path:
        if not home.exists():
            require("make")
            home.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=home.parent) as temporary:
                build(f"python{version}", suite, program, home, Path(temporary))
        return home / "bin" / program

    return Recipe(program, make)


def build(package: str, suite: str, program: str, home: Path, folder: Path) -> None:
    """Build a free-threaded Python in a folder that goes away, for the place where it will be."""
    require_usable(COMPILER, "", folder)
    sources, installed = folder / "sources", folder / "installed"
    sources.mkdir()
    unpack_sources(package, suite, sources)
    failed = f"{program} cannot be built"
    options = ("--disable-gil", "--disable-test-modules", "--without-ensurepip", f"--prefix={home}")
    output_or_skip([sources / "configure", "-q", *options], failed, environment={"CC": COMPILER}, cwd=sources)
    output_or_skip(["make", f"-j{os.cpu_count()}"], failed, cwd=sources)
    output_or_skip(["make", "install", f"DESTDIR={installed}"], failed, cwd=sources)
    made = installed / home.relative_to("/")
    needed = "install the headers of libffi, OpenSSL and zlib (apt install libffi-dev libssl-dev zlib1g-dev)"
    output_or_skip([made / "bin" / program, "-c", MODULES], needed)
    made.rename(home)


PYTHONS = {
    "py313t": free_threaded("3.13", "trixie"),
    "py314": unpacked("python3.14", "sid"),
    "py315": unpacked("python3.15", "sid"),
    "pypy3": unpacked("pypy3", "sid"),
}
"""By tox's names."""


def find(name: str) -> Path:
    """Return a Python of this machine's, or else one that is fetched or built now.

    Raises:
        SkipError: It cannot be.
    """
    recipe = PYTHONS[name]
    own = shutil.which(recipe.program)
    if own is not None and is_usable(Path(own)):
        return Path(own)
    home = HOME / name
    if not home.exists():
        print(f"{recipe.program}: fetching it, or building it, into {home} ...", flush=True)
    program = recipe.make(home)
    if not is_usable(program):
        raise SkipError(f"{program} does not run")
    return program


def is_usable(program: Path) -> bool:
    """Return whether a Python starts, and the package runs on its version."""
    try:
        output_or_skip([program, "-c", f"import sys; sys.exit(sys.version_info < {OLDEST})"], "too old")
    except SkipError:
        return False
    return True


def describe(name: str) -> str:
    """Return where a Python is, or why it is nowhere."""
    try:
        return str(find(name))
    except SkipError as reason:
        return f"skipped: {reason}"


def main() -> int:
    """Print where the Pythons are and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PYTHONS)} (default: all)")
    for name in parser.parse_args().names or PYTHONS:
        print(f"{name}: {describe(name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
