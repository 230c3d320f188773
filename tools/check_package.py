# SPDX-License-Identifier: MIT
"""Build the package every way in which users get it, and run the self-test of each: sdist, wheel, editable.

Without CMake or ninja on PATH, since a C compiler is all that an installation may ask for.
"""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

from building import NO_CMAKE, NO_COMPILER, ROOT, run, tools_without, try_to_run


def check_without_compiler(sdist: Path, folder: Path) -> None:
    """Install the sdist where there is no C compiler, which must end with a message that says what to do."""
    environment = tools_without(NO_COMPILER, folder / "no-compiler")
    environment.pop("CC", None)
    target = folder / "venv"
    venv.create(target, with_pip=True, clear=True)
    status, output = try_to_run(target / "bin" / "pip", "install", sdist, environment=environment, folder=folder)
    words = " ".join(output.split())  # CMake breaks lines
    if not status or "no C compiler works. Install one (apt install gcc" not in words:
        sys.exit(f"an installation without a C compiler should have said what to install:\n{output}")
    print(f"{sdist.name} without a C compiler: refused with a message that says what to install", flush=True)


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
        environment = tools_without(NO_CMAKE, folder / "no-cmake")
        if not shutil.which("cc", path=environment["PATH"]):
            sys.exit("no C compiler on PATH")
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
        check_without_compiler(sdist, folder)
        copy = folder / "axptr-native"
        (folder / sdist.name.removesuffix(".tar.gz")).rename(copy)
        check_installed(copy, environment, folder, "--editable")


if __name__ == "__main__":
    main()
