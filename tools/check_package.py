# SPDX-License-Identifier: MIT
"""Build the package every way in which users get it, and run the self-test of each: sdist, wheel, editable.

Without CMake or ninja on PATH, since a C compiler is all that an installation may ask for.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

from programs import NO_CMAKE, NO_COMPILER, ROOT, CheckError, check_in_scratch, last_line, output_of, run, tools_without


def check_without_compiler(sdist: Path, folder: Path) -> None:
    """Install the sdist where there is no C compiler, which must end with a message that says what to do."""
    environment = tools_without(NO_COMPILER, folder / "no-compiler") | {"CC": ""}
    target = folder / "venv"
    venv.create(target, with_pip=True, clear=True)
    done = run([target / "bin" / "pip", "install", sdist], environment=environment, cwd=folder)
    words = " ".join(done.output.split())  # CMake breaks lines
    if done.returncode == 0 or "no C compiler works. Install one (apt install gcc" not in words:
        raise CheckError(f"an installation without a C compiler should have said what to install:\n{done.output}")
    print(f"{sdist.name} without a C compiler: refused with a message that says what to install", flush=True)


def check_installed(what: Path, environment: dict[str, str], folder: Path, *options: str) -> None:
    """Install into a new virtual environment and run the self-test from outside the checkout."""
    target = folder / "venv"
    venv.create(target, with_pip=True, clear=True)
    output_of([target / "bin" / "pip", "install", *options, what], environment=environment, cwd=folder)
    said = output_of([target / "bin" / "axptr-native", "selftest"], environment=environment, cwd=folder)
    print(f"{' '.join(options)} {what.name}: {last_line(said)}".strip(), flush=True)


def check(folder: Path) -> int:
    """Build, check and return the exit status."""
    environment = tools_without(NO_CMAKE, folder / "no-cmake")
    if not shutil.which("cc", path=environment["PATH"]):
        raise CheckError("no C compiler on PATH")
    output_of([sys.executable, "-m", "build", "--outdir", folder, ROOT], environment=environment, cwd=folder)
    (sdist,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")

    if not re.search(r"-py3-none-(?!any)\w+\.whl$", wheel.name):
        raise CheckError(f"{wheel.name} is not tagged py3-none-<platform>")
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
        archive.extractall(folder, filter="data")
    for needed in ("CMakeLists.txt", "native/axptr.h", "tests/test_smoke.py", "README.md", "LICENSE", "tox.ini"):
        if needed not in files:
            raise CheckError(f"{sdist.name} lacks {needed}")
    names = set(zipfile.ZipFile(wheel).namelist())
    foreign = [name for name in names if not re.match(r"axptr_native(/|_pytest\.py$|-[^/]+\.dist-info/)", name)]
    if foreign or "axptr_native/py.typed" not in names:
        raise CheckError(f"{wheel.name} has {foreign or 'no py.typed'}")

    check_installed(wheel, environment, folder)
    check_installed(sdist, environment, folder)
    check_without_compiler(sdist, folder)
    copy = folder / "axptr-native"
    (folder / sdist.name.removesuffix(".tar.gz")).rename(copy)
    check_installed(copy, environment, folder, "--editable")
    return 0


if __name__ == "__main__":
    sys.exit(check_in_scratch(check))
