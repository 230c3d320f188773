# SPDX-License-Identifier: MIT
"""Build the library for another processor and run the test-suite there: ``foreign.py arm64 [pytest's arguments]``.

A Python of that processor and a compiler for it come from Debian, through the machine's own apt sources, and are
unpacked into a folder: nothing is installed.  That folder is the root of what runs, in namespaces of its own, where the
kernel hands the processor's programs to qemu; nothing is left of those afterwards.  A processor whose programs this
machine runs itself needs no qemu.

What is missing here is printed, and the rest skipped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tomllib
from debian_packages import CACHE, SUITE, making, output_or_skip, own_architecture, require, unpack
from emulator import emulator
from programs import ROOT, SkipError, check_in_scratch, output_of

HOME = CACHE / "foreign"

OLDER = "bookworm"
"""The release taken in the place of :data:`SUITE` where a mirror has not got a processor's part of that whole."""

FOREIGN = ("libc-bin", "python3", "python3-numpy")
NATIVE = ("cmake", "coreutils", "dash", "ninja-build", "procps", "python3-hypothesis")
"""Packages of the other processor, and of this one, which is faster."""

PIP = (sys.executable, "-m", "pip", "install", "-qq")

TOOLS = ("apt-get", "chroot", "dpkg", "dpkg-deb", "mount", "unshare")


class Processor(NamedTuple):
    """What the world calls a processor."""

    triplet: str
    compiler: str
    machine: str
    qemu: str | None
    model: str

    @property
    def package(self) -> str:
        """The cross compiler's."""
        return f"gcc-{self.compiler.replace('_', '-')}"


def processor(
    triplet: str, machine: str, qemu: str | None, *, compiler: str | None = None, model: str = ""
) -> Processor:
    """Return a processor whose compiler is mostly named as its libraries are, and whose model is qemu's own choice."""
    return Processor(triplet, compiler or triplet, machine, qemu, model)


PROCESSORS = {
    "i386": processor("i386-linux-gnu", "i686", None, compiler="i686-linux-gnu"),
    "arm64": processor("aarch64-linux-gnu", "aarch64", "aarch64", model="cortex-a72"),
    "armhf": processor("arm-linux-gnueabihf", "armv7l", "arm"),
    "riscv64": processor("riscv64-linux-gnu", "riscv64", "riscv64"),
    "ppc64el": processor("powerpc64le-linux-gnu", "ppc64le", "ppc64le"),
    "s390x": processor("s390x-linux-gnu", "s390x", "s390x"),
}
"""By Debian's names."""

INSIDE = """
set -eu
mount -t proc proc "$root/proc"
if test -n "$rule"; then
    mount -t binfmt_misc binfmt_misc "$root/proc/sys/fs/binfmt_misc"
    printf %s "$rule" > "$root/proc/sys/fs/binfmt_misc/register"
fi
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$project" "$root/project"
mount --bind "$site" "$root/site"
exec chroot "$root" /usr/bin/env -i HOME=/tmp LANG=C.UTF-8 PATH=/usr/bin PYTHONPYCACHEPREFIX=/var/cache/python \
    ${rule:+AXPTR_EMULATED=qemu} ${model:+QEMU_CPU="$model"} QEMU_GUEST_BASE=0 sh -euc "$commands" sh "$@"
"""

BUILD = """
cmake -S /project -B /tmp/build -G Ninja -DCMAKE_BUILD_TYPE=Release -DAXPTR_WERROR=ON \\
    -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR={machine} -DCMAKE_C_COMPILER={compiler}-gcc > /tmp/cmake.log \\
    || {{ cat /tmp/cmake.log; exit 1; }}
cmake --build /tmp/build
cmake --install /tmp/build --prefix /site > /dev/null
"""

TEST = """
cd /project
test -e /etc/ld.so.cache || /usr/sbin/ldconfig
python3 -c 'import platform; print(platform.python_version(), platform.machine(), *platform.libc_ver())'
status=0  # the shell goes on, as the first process of its namespace, to see orphans end
python3 -m pytest -p no:cacheprovider "$@" || status=$?
exit $status
"""


def root_of(name: str, kind: Processor) -> Path:
    """Return the folder that holds a processor's Python and the compiler for it."""
    packages = [f"{package}:{name}" for package in FOREIGN] + [kind.package, f"libc6-dev-{name}-cross", *NATIVE]
    root = HOME / name
    listed = root / "packages"
    if not listed.exists() or listed.read_text().split() != packages:
        print(f"fetching Python for {name} and its compiler ...", flush=True)
        try:
            fetch(root, name, kind, packages, SUITE)
        except SkipError as error:
            print(f"{error}; fetching those of {OLDER} ...", flush=True)
            fetch(root, name, kind, packages, OLDER)
    install_tests(root)
    return root


def fetch(root: Path, name: str, kind: Processor, packages: Sequence[str], suite: str) -> None:
    """Make the folder of a release's packages."""
    with making(root) as made:
        unpack(packages, suite, [own_architecture(), name], made)
        complete(made, kind)
        (made / "packages").write_text(" ".join(packages))


def python_of(root: Path) -> Path:
    """Return the program that the processor's ``python3`` is, ``python3.13`` for instance."""
    bin_folder = root / "usr" / "bin"
    return bin_folder / (bin_folder / "python3").readlink()


def packages_of(root: Path) -> Path:
    """Return the folder in which that Python looks for what is not Debian's."""
    return root / "usr" / "local" / "lib" / python_of(root).name / "dist-packages"


def complete(root: Path, kind: Processor) -> None:
    """Do what the packages' scripts would have done, as far as it is needed."""
    for name in ("dev", "proc", "project", "site", "tmp", "var/cache/python"):
        (root / name).mkdir(parents=True, exist_ok=True)
    links = {root / "usr" / "bin" / name: f"{kind.compiler}-{name}" for name in ("gcc", "nm", "objdump")}
    links |= {root / "usr" / "bin" / "cc": "gcc", root / "usr" / "bin" / "python": "python3"}
    for name in ("blas", "lapack"):
        links[root / "usr" / "lib" / kind.triplet / f"lib{name}.so.3"] = f"{name}/lib{name}.so.3"
    for link, target in links.items():
        link.symlink_to(target)
    packages = packages_of(root)
    packages.mkdir(parents=True)
    (packages / "site.pth").write_text("/site\n")


def binfmt_rule(program: Path, interpreter: Path) -> str:
    """Return what tells the kernel to run whatever has a header like that program's by an interpreter."""
    header = bytearray(program.read_bytes()[:20])
    mask = bytearray(b"\xff" * 20)
    mask[7] = mask[8] = 0  # who made it
    mask[16 if header[5] == 1 else 17] = 0xFE  # at a fixed place or anywhere
    header = bytearray(byte & kept for byte, kept in zip(header, mask, strict=True))
    encoded = ["".join(f"\\x{byte:02x}" for byte in part) for part in (header, mask)]
    return f":{interpreter.name}:M::{encoded[0]}:{encoded[1]}:{interpreter}:F"


def install_tests(root: Path) -> None:
    """Install what the tests need and has no machine code, unless it is there."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        group = tomllib.load(file)["dependency-groups"]["test"]
    needed = [name for name in group if name != "hypothesis"]  # which has some, and is Debian's
    packages = packages_of(root)
    installed = packages / "installed"
    if installed.exists() and installed.read_text().splitlines() == needed:
        return
    version = python_of(root).name.removeprefix("python")
    options = ["--python-version", version, "--only-binary=:all:", "--platform", "any", "--target", str(packages)]
    output_or_skip([*PIP, "--upgrade", *options, *needed], "pip cannot install what the tests need")
    installed.write_text("\n".join(needed))


def run_suite(name: str, arguments: Sequence[str], site: Path, wheel: Path | None = None) -> int:
    """Run the tests on a wheel or what the compiler there makes of the sources, and return the exit status.

    Args:
        name: The processor, by Debian's name.
        arguments: Those of pytest.
        site: An empty folder, for the package.
        wheel: For that processor.

    Raises:
        SkipError: They cannot be run here.
        CheckError: The package cannot be installed.
    """
    kind = PROCESSORS[name]
    require(*TOOLS)
    root = root_of(name, kind)
    rule = binfmt_rule(python_of(root), emulator(kind.qemu)) if kind.qemu else ""
    if wheel is None:
        pure = ("--no-deps", "--no-build-isolation", "--config-settings=wheel.cmake=false", "--target", site)
        output_of([*PIP, *pure, ROOT])
    else:
        shutil.unpack_archive(wheel, site, "zip")
    variables = {
        "root": str(root),
        "rule": rule,
        "model": kind.model,
        "project": str(ROOT),
        "site": str(site),
        "commands": ("" if wheel else BUILD.format(machine=kind.machine, compiler=kind.compiler)) + TEST,
    }
    own = ("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child")
    output_or_skip([*own, "true"], "namespaces are not to be had")
    command = [*own, "sh", "-c", INSIDE, "sh", *arguments]
    return subprocess.run(command, env=os.environ | variables, check=False).returncode


def main() -> int:
    """Run what can be run and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("processor", choices=PROCESSORS)
    options, arguments = parser.parse_known_args()
    return check_in_scratch(lambda site: run_suite(options.processor, arguments or ["-n", "auto"], site))


if __name__ == "__main__":
    sys.exit(main())
