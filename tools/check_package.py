# SPDX-License-Identifier: MIT
"""Build the package every way in which users get it, and run the self-test of each: sdist, wheel, editable.

Without CMake or ninja on PATH, since a C compiler is all that an installation may ask for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def compiler_only(folder: Path) -> dict[str, str]:
    """Return an environment whose PATH has the system's tools, but no CMake and no ninja."""
    tools = folder / "bin"
    tools.mkdir()
    for entry in os.environ["PATH"].split(os.pathsep):
        for program in Path(entry).glob("*") if Path(entry).is_dir() else ():
            link = tools / program.name
            if not re.match(r"(cmake|ninja|ctest|cpack)", program.name) and not link.exists():
                link.symlink_to(program)
    if not shutil.which("cc", path=str(tools)):
        sys.exit("no C compiler on PATH")
    return {**os.environ, "PATH": str(tools)}


def run(*command: object, environment: dict[str, str], folder: Path) -> str:
    """Run a command and return what it printed; on failure print it and end."""
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def check_installed(what: object, environment: dict[str, str], folder: Path, *options: str) -> None:
    """Install into a new virtual environment and run the self-test from outside the checkout."""
    target = folder / "venv"
    venv.create(target, with_pip=True, clear=True)
    run(target / "bin" / "pip", "install", *options, what, environment=environment, folder=folder)
    last = run(target / "bin" / "axptr-native", "selftest", environment=environment, folder=folder).splitlines()[-1]
    print(f"{' '.join(options)} {Path(str(what)).name}: {last}".strip(), flush=True)


def main() -> None:
    """Build and check."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = compiler_only(folder)
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT, environment=environment, folder=folder)
        (sdist,) = folder.glob("*.tar.gz")
        (wheel,) = folder.glob("*.whl")

        if not re.search(r"-py3-none-(?!any)\w+\.whl$", wheel.name):
            sys.exit(f"{wheel.name} is not tagged py3-none-<platform>")
        with tarfile.open(sdist) as archive:
            files = {name.partition("/")[2] for name in archive.getnames()}
            archive.extractall(folder, filter="data")
        for needed in ("CMakeLists.txt", "native/axptr.h", "tests/test_smoke.py", "README.md", "LICENSE", "tox.ini"):
            if needed not in files:
                sys.exit(f"{sdist.name} lacks {needed}")
        names = set(zipfile.ZipFile(wheel).namelist())
        foreign = [name for name in names if not re.match(r"axptr_native(/|_pytest\.py$|-[^/]+\.dist-info/)", name)]
        if foreign or "axptr_native/py.typed" not in names:
            sys.exit(f"{wheel.name} has {foreign or 'no py.typed'}")

        check_installed(wheel, environment, folder)
        check_installed(sdist, environment, folder)
        copy = folder / "axptr-native"
        (folder / sdist.name.removesuffix(".tar.gz")).rename(copy)
        check_installed(copy, environment, folder, "--editable")


if __name__ == "__main__":
    main()
