# SPDX-License-Identifier: MIT
"""Build the release, an sdist and a wheel for each platform, without containers, and check it.

``build_wheels.py [--outdir DIST] [--platforms NAME ...] [PYTEST ARGUMENTS]``

zig compiles for the platforms of ``zig.py``; what needs another tool adds a builder to ``BUILDERS``.  Everything is
built twice, from two folders, and must come to the same bytes.  The wheel for this machine is installed where there is
no compiler, and the tests run on it; on that for another processor, under qemu; on that for Windows, under wine; those
for musl are put to the test by a program in C.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import platform
import shutil
import sys
import tarfile
import time
import venv
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import check_windows
import foreign
from check_targets import run_against
from debian_packages import ARCHITECTURES
from programs import (
    NO_COMPILER,
    ROOT,
    SUITE_HANG,
    CheckError,
    SkipError,
    check_in_scratch,
    last_line,
    output_of,
    run,
    tools_without,
)
from zig import TARGETS, Target, find_zig, write_toolchain

Builder = Callable[[Path, str, Path, Mapping[str, str]], Path]
"""From a source tree, a platform's name, a scratch folder and the environment: the wheel."""


def epoch() -> str:
    """Return the time that every file of the release bears: the last commit's, or the sources' own in an sdist."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    done = run(["git", "log", "-1", "--format=%ct"])
    return done.output.strip() if done.returncode == 0 else str(int((ROOT / "pyproject.toml").stat().st_mtime))


def build(what: str, source: Path, folder: Path, environment: Mapping[str, str], *options: str) -> Path:
    """Build an sdist or a wheel and return it."""
    command = (sys.executable, "-m", "build", f"--{what}", "--no-isolation", "--outdir", folder)
    output_of([*command, *options, source], environment=environment)
    (built,) = folder.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return built


def build_by_zig(source: Path, name: str, folder: Path, environment: Mapping[str, str]) -> Path:
    """Build a wheel by zig, give it its tag and let auditwheel judge it."""
    target = TARGETS[name]
    zig = find_zig()
    if zig is None:
        raise AssertionError("looked up before")
    toolchain = write_toolchain(zig, target, folder)
    wheel = build(
        "wheel",
        source,
        folder / "built",
        environment,
        f"-Ccmake.define.CMAKE_TOOLCHAIN_FILE={toolchain}",
        "-Ccmake.define.AXPTR_WERROR=ON",
    )
    is_for_glibc = target.tag.startswith("manylinux")
    tag = f"linux_{target.processor}" if is_for_glibc else target.tag
    retag = (sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", tag)
    output_of([*retag, wheel], environment=environment)
    (wheel,) = wheel.parent.glob("*.whl")
    if is_for_glibc:
        repaired = folder / "repaired"
        # By name it takes a platform of this machine's processor only.
        repair = (sys.executable, "-m", "auditwheel", "repair", "--plat", "auto", "--wheel-dir", repaired)
        output_of([*repair, wheel], environment=environment)
        (wheel,) = repaired.glob("*.whl")
        if target.tag not in wheel.name:
            raise CheckError(f"{wheel.name} should have been {target.tag}")
    elif target.system == "Linux":
        check_needs_musl_alone(wheel)
    return wheel


def check_needs_musl_alone(wheel: Path) -> None:
    """Make sure that a wheel for musl needs nothing else: auditwheel, on a machine with glibc, cannot tell."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    with zipfile.ZipFile(wheel) as archive, archive.open("axptr_native/libaxptr_native.so") as file:
        dynamic = ELFFile(io.BytesIO(file.read())).get_section_by_name(".dynamic")
    if not isinstance(dynamic, DynamicSection):
        raise CheckError(f"{wheel.name} has a library that is not dynamic")
    tags: Any = dynamic.iter_tags("DT_NEEDED")
    needed = {tag.needed for tag in tags}
    if needed != {"libc.so"}:
        raise CheckError(f"{wheel.name} needs {needed}, where musl has libc.so alone")


BUILDERS: dict[str, Builder] = {name: build_by_zig for name, target in TARGETS.items() if target.tag}


def build_release(source: Path, names: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[Path]:
    """Build the sdist, and from it the wheels, into the folder's ``dist``."""
    dist = folder / "dist"
    dist.mkdir(parents=True)
    sdist = build("sdist", source, dist, environment)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    for name in names:
        scratch = folder / name
        scratch.mkdir()
        started = time.monotonic()
        shutil.move(BUILDERS[name](unpacked, name, scratch, environment), dist)
        print(f"{name}: built in {time.monotonic() - started:.0f} s", flush=True)
    return sorted(dist.iterdir())


def check_reproduced(first: Sequence[Path], second: Sequence[Path]) -> None:
    """Make sure that two builds came to the same bytes."""
    for one, other in zip(first, second, strict=True):
        if one.name != other.name:
            raise CheckError(f"{one.name} was {other.name} when it was built again")
        if one.read_bytes() != other.read_bytes():
            raise CheckError(f"{one.name} has other bytes when it is built again: {', '.join(differing(one, other))}")
        print(f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}: the same twice", flush=True)


def differing(one: Path, other: Path) -> list[str]:
    """Return which members of two archives differ; none if only their order or their times do."""

    def members(path: Path) -> dict[str, bytes]:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                return {name: wheel.read(name) for name in wheel.namelist()}
        with tarfile.open(path) as sdist:
            files = ((member.name, sdist.extractfile(member)) for member in sdist)
            return {name: file.read() for name, file in files if file is not None}

    left, right = members(one), members(other)
    return sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name)) or ["metadata"]


def check_contents(release: Sequence[Path]) -> None:
    """Let the usual tools judge the release."""
    wheels = [path for path in release if path.suffix == ".whl"]
    # W009: beside the package there is the module of the pytest plugin.
    print(output_of([sys.executable, "-m", "check_wheel_contents", "--ignore", "W009", *wheels]).strip())
    output_of([sys.executable, "-m", "twine", "check", "--strict", *release])
    print(f"twine: {len(release)} files PASSED")
    for wheel in wheels:
        if "manylinux" in wheel.name:
            said = " ".join(output_of([sys.executable, "-m", "auditwheel", "show", wheel]).split())
            print(said.partition("The wheel references")[0].strip(), flush=True)


def check_here(wheel: Path, folder: Path, arguments: Sequence[str]) -> None:
    """Install a wheel where there is no compiler and run the tests on it."""
    environment = tools_without(NO_COMPILER, folder / "tools")
    target = folder / "venv"
    venv.create(target, with_pip=False)
    python = target / "bin" / "python"
    environment |= {"CC": "", "PATH": f"{target / 'bin'}{os.pathsep}{environment['PATH']}", "PYTHONPATH": ""}
    # The group's names are read by this interpreter's pip: the one that comes with an older Python cannot.
    group = f"{ROOT / 'pyproject.toml'}:test"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--only-binary", "axptr-native")
    output_of([*pip, wheel, "--group", group], environment=environment, cwd=folder)
    print(last_line(output_of([python, "-m", "axptr_native", "selftest"], environment=environment, cwd=folder)))
    pytest = (python, "-m", "pytest", "-p", "no:cacheprovider")
    said = output_of([*pytest, *arguments], environment=environment, timeout=SUITE_HANG)
    skipped = [line for line in said.splitlines() if line.startswith("SKIPPED")]
    print("\n".join([*skipped, f"{wheel.name}: {last_line(said)}"]), flush=True)


def check_by_program(wheel: Path, target: Target, folder: Path) -> None:
    """Run the program that catches faults in C against the library of a wheel for musl."""
    extracted = folder / target.tag
    with zipfile.ZipFile(wheel) as archive:
        library = Path(archive.extract("axptr_native/libaxptr_native.so", extracted))
    print(f"{wheel.name}: {run_against(library, target, extracted)}", flush=True)


def check_wheel(wheel: Path, target: Target, arguments: Sequence[str], folder: Path) -> None:
    """Put a wheel to the test, where its platform or something like it is to be had."""
    status = 0
    try:
        if "musl" in target.triple:
            check_by_program(wheel, target, folder)
        elif (target.system, target.processor) == (platform.system(), platform.machine()):
            check_here(wheel, folder, arguments)
        elif target.system == "Windows":
            status = check_windows.run_suite("3.13", arguments, folder, wheel)
        elif target.system == "Linux":
            site = folder / target.tag
            site.mkdir()
            status = foreign.run_suite(ARCHITECTURES[target.processor], arguments, site, wheel)
        else:
            raise SkipError(f"nothing here runs programs of {target.system}")
    except SkipError as reason:
        print(f"{wheel.name}: not run: {reason}", flush=True)
    if status != 0:
        raise CheckError(f"{wheel.name}: FAILED")


def check_release(names: Sequence[str], outdir: Path | None, arguments: Sequence[str], folder: Path) -> int:
    """Build and check everything, and return the exit status."""
    if find_zig() is None:
        raise SkipError("ziglang is not installed, which compiles for the platforms")
    # Dates before 1980 do not fit into a wheel.
    environment = {"SOURCE_DATE_EPOCH": str(max(int(epoch()), 315532800))}
    release = build_release(ROOT, names, folder / "once", environment)
    sdist = next(path for path in release if path.suffix == ".gz").name.removesuffix(".tar.gz")
    source = folder / "once" / sdist
    again = folder / "again" / "in-a-folder-with-a-longer-name"
    shutil.copytree(source, again / "sources", copy_function=shutil.copyfile)  # with times of now
    check_reproduced(release, build_release(again / "sources", names, again, environment))
    check_contents(release)
    for target in map(TARGETS.__getitem__, names):
        (wheel,) = (path for path in release if target.tag in path.name)
        check_wheel(wheel, target, arguments, folder)
    if outdir is not None:
        outdir.mkdir(parents=True, exist_ok=True)
        for path in release:
            shutil.copy(path, outdir)
    return 0


def main() -> int:
    """Build and check everything, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--outdir", type=Path, help="keep the release there")
    parser.add_argument("--platforms", nargs="+", choices=BUILDERS, default=list(BUILDERS), metavar="NAME")
    options, arguments = parser.parse_known_args()
    arguments = arguments or ["-n", "auto"]
    return check_in_scratch(lambda folder: check_release(options.platforms, options.outdir, arguments, folder))


if __name__ == "__main__":
    sys.exit(main())
