# SPDX-License-Identifier: MIT
"""The libraries in C that tests load.

``helpers_compiled.py FOLDER COMPILER ...`` compiles, for another system, those that need no POSIX.  The tests find them
there if AXPTR_TEST_LIBRARIES names the folder.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent


class Library(NamedTuple):
    """Sources, and what the compiler is told."""

    sources: str
    """A pattern, below this folder."""

    options: Sequence[str]
    posix_sources: str = ""


LIBRARIES = {
    "callee": Library("native/callee.c", ["-O1"], "native/callee_posix.c"),
    "hostile": Library("", ["-O1", "-w"], "native/*.c"),
    "instructions_aarch64": Library("native_instructions/aarch64.c", ["-O1"]),
    "instructions_riscv": Library("native_instructions/riscv.c", ["-O1"]),
    # Without optimization, each access that the source makes is one access of that width.
    "planted": Library("native_planted/planted.c", ["-O0"]),
    "two_way": Library("native_find/two_way.c", ["-O1", f"-I{_HERE.parent / 'native'}"]),
}

FILES = "{}.dll" if sys.platform == "win32" else "lib{}.so"


def compile_library(name: str, folder: Path) -> Path:
    """Compile a library for this system and return it; skip where there is no compiler."""
    import pytest  # which is not needed to compile for another system

    built = os.environ.get("AXPTR_TEST_LIBRARIES")
    if built is not None:
        return Path(built) / FILES.format(name)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler: cc, gcc or clang")
    described = LIBRARIES[name]
    sources = [path for pattern in (described.sources, described.posix_sources) if pattern for path in _glob(pattern)]
    library = folder / FILES.format(name)
    _compile([compiler, "-fPIC", "-pthread"], described, sources, library)
    return library


def _glob(pattern: str) -> list[Path]:
    return sorted(_HERE.glob(pattern))


def _compile(compiler: Sequence[str], described: Library, sources: Sequence[Path], library: Path) -> None:
    objects = [library.with_name(f"{source.stem}.o") for source in sources]
    for source, compiled in zip(sources, objects, strict=True):
        _run(*compiler, *described.options, "-c", "-o", compiled, source)
    # Told the same as for our own library when it links, zig compiles its C library once.
    _run(*compiler, "-O3", "-shared", "-o", library, *objects, "-lm")


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, timeout=600)


if __name__ == "__main__":
    for name, described in LIBRARIES.items():
        if described.sources:
            _compile(sys.argv[2:], described, _glob(described.sources), Path(sys.argv[1]) / f"{name}.dll")
