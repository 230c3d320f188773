# SPDX-License-Identifier: MIT
"""Debian's packages of any release, for this machine or another: fetched and unpacked into a folder, and not installed.

They come from where the machine's own apt sources say.  What keeps something from being fetched is a
:class:`programs.SkipError`, for the caller to print.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from programs import ROOT, SUITE_HANG, SkipError, last_line, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "axptr-native"
"""Where what was fetched is kept."""

SUITE = "trixie"
"""The release that has a Python for every processor, and qemu."""

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
"""What Debian calls the processors of the release's wheels."""


def output_or_skip(
    command: Sequence[str | Path],
    obstacle: str,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> str:
    """Return what a program prints; if it fails, it could not be done for that reason."""
    done = run(command, environment=environment, cwd=cwd, timeout=SUITE_HANG)
    if done.returncode != 0:
        raise SkipError(f"{obstacle}: {last_line(done.output)}")
    return done.output


def require(*tools: str) -> None:
    """Make sure that programs are on PATH."""
    for tool in tools:
        if shutil.which(tool) is None:
            raise SkipError(f"{tool} not found")


def mirror() -> str:
    """Return where this machine gets Debian's packages."""
    entry = "$(ORIGIN) $(COMPONENT) $(REPO_URI) $(CODENAME)"
    command = ("apt-get", "indextargets", "--format", entry, "Created-By: Packages")
    for line in output_or_skip(command, "apt cannot list its sources").splitlines():
        origin, component, address, codename = [*line.split(" "), "", "", ""][:4]
        if (origin, component) == ("Debian", "main") and "-" not in codename:
            return address
    raise SkipError("no apt source of this machine is Debian's main archive")


def own_architecture() -> str:
    """Return Debian's name of this machine's processor."""
    require("dpkg")
    return output_or_skip(["dpkg", "--print-architecture"], "dpkg does not run").strip()


def configure_apt(folder: Path, suite: str, architectures: Sequence[str]) -> Path:
    """Give apt a state of its own, in which nothing is installed, and return its configuration."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    sources = folder / "sources.list"
    address = mirror()
    sources.write_text("".join(f"{kind} {address} {suite} main\n" for kind in ("deb", "deb-src")))
    settings = {
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Architecture": architectures[0],
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Check-Valid-Until": "false",  # a mirror's copy of sid may be some days old
        "Acquire::Languages": "none",
        "Debug::NoLocking": "true",
    }
    names = "".join(f'"{name}";' for name in architectures)
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    configuration = folder / "apt.conf"
    configuration.write_text("\n".join([*lines, f"APT::Architectures {{{names}}};", ""]))
    return configuration


@contextlib.contextmanager
def apt_of(suite: str, architectures: Sequence[str], home: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a folder that goes away again, and the environment in which apt-get knows a release's packages."""
    require("apt-get", "dpkg-deb")
    with tempfile.TemporaryDirectory(dir=home) as temporary:
        folder = Path(temporary)
        environment = {"APT_CONFIG": str(configure_apt(folder, suite, architectures))}
        obstacle = f"the package lists of {suite} cannot be fetched"
        output_or_skip(["apt-get", "-qq", "update"], obstacle, environment=environment, cwd=folder)
        yield folder, environment


def unpack(packages: Sequence[str], suite: str, architectures: Sequence[str], made: Path) -> None:
    """Fetch packages and what they depend on, and unpack them all into a new folder."""
    require("tar")
    with apt_of(suite, architectures, made.parent) as (folder, environment):
        command = ["apt-get", "-qq", "install", "--yes", "--download-only", *packages]
        output_or_skip(command, "the packages cannot be fetched", environment=environment, cwd=folder)
        for name in ("bin", "lib", "lib64", "sbin"):
            (made / "usr" / name).mkdir(parents=True)
            (made / name).symlink_to(f"usr/{name}")
        # Not by dpkg-deb alone, which puts a folder in the place of a link to one.
        extract = 'dpkg-deb --fsys-tarfile "$1" | tar --extract --keep-directory-symlink --directory="$2"'
        for archive in sorted((folder / "archives").glob("*.deb")):
            output_or_skip(["sh", "-c", extract, "sh", archive, made], f"{archive.name} cannot be unpacked")


def unpack_sources(package: str, suite: str, made: Path) -> None:
    """Fetch a package's sources as their authors published them, and unpack them into a folder."""
    with apt_of(suite, [own_architecture()], made.parent) as (folder, environment):
        command = ["apt-get", "-qq", "source", "--download-only", package]
        output_or_skip(command, "the sources cannot be fetched", environment=environment, cwd=folder)
        (archive,) = (path for path in folder.glob("*.orig.tar.*") if path.suffix != ".asc")
        require("tar", "xz")
        command = ["tar", "--extract", f"--file={archive}", f"--directory={made}", "--strip-components=1"]
        output_or_skip(command, f"{archive.name} cannot be unpacked")


@contextlib.contextmanager
def making(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which gets its name, and takes the place of what has it, when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        yield made
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
