# SPDX-License-Identifier: MIT
"""Programs: run to their end, found, kept from being found, and built against the library.  The checks share it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

HANG, SUITE_HANG = 600, 3600
"""Seconds, after which a program or the whole test-suite is taken to hang."""

NOT_STARTED = 127
"""What a shell says of a program that it cannot start."""

NO_CMAKE = r"(cmake|ninja|ctest|cpack)"
NO_COMPILER = NO_CMAKE + r"|.*\b(cc|gcc|clang|c89|c99|tcc)\b"
"""Patterns for programs, as :func:`tools_without` takes them."""


class CheckError(Exception):
    """A step that did not work, in a few words; its output has been printed."""


class SkipError(Exception):
    """What is asked for cannot be done here, and why."""


def check_in_scratch(check: Callable[[Path], int]) -> int:
    """Give a check an empty folder, print why it was skipped or what did not work, and return the exit status."""
    with tempfile.TemporaryDirectory() as temporary:
        try:
            return check(Path(temporary).resolve())
        except SkipError as reason:
            print(f"skipped: {reason}")
            return 0
        except CheckError as error:
            print(error)
            return 1


class Outcome(NamedTuple):
    """How a program ended, and what it said."""

    returncode: int
    output: str


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    stdin: str = "",
    timeout: float = HANG,
) -> Outcome:
    """Run a program to its end, or until it hangs, and end what it has left behind.

    Args:
        command: The program and its arguments.
        environment: Variables that it has besides this process's own; an empty one is as good as none.
        cwd: The folder that it runs in.
        stdin: What it reads.
        timeout: Seconds, after which it hangs.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:  # a pipe would wait for whoever else holds its end
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=os.environ | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            return Outcome(NOT_STARTED, str(error))
        try:
            process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            said.write(f"\nno end after {timeout} s\n")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        returncode = process.wait()
        said.seek(0)
        return Outcome(returncode, said.read())


def demand(name: str, outcome: Outcome) -> str:
    """Return what a program said that had to end well.

    Raises:
        CheckError: It did not; what it said has been printed.
    """
    if outcome.returncode != 0:
        print(f"==== {name}\n{outcome.output}", flush=True)
        raise CheckError(f"FAILED: {last_line(outcome.output)}")
    return outcome.output


def output_of(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    timeout: float = HANG,
) -> str:
    """Run a program as :func:`run` does and return what it said, which had to end well.

    Raises:
        CheckError: It did not; what it said has been printed.
    """
    return demand(shlex.join(map(str, command)), run(command, environment=environment, cwd=cwd, timeout=timeout))


def last_line(text: str) -> str:
    """Return a tool's last word."""
    return next((line.strip("= ") for line in reversed(text.splitlines()) if line.strip()), "no output")


def tools_without(pattern: str, folder: Path) -> dict[str, str]:
    """Return variables with the system's tools but those that match from their beginning; it makes the folder."""
    folder.mkdir()
    for entry in os.environ["PATH"].split(os.pathsep):
        for program in Path(entry).glob("*") if Path(entry).is_dir() else ():
            link = folder / program.name
            if not re.match(pattern, program.name) and not link.is_symlink():
                link.symlink_to(program)
    return {"PATH": str(folder)}


def require_usable(compiler: str, flags: str, folder: Path) -> None:
    """Make sure that a compiler can build with these flags.

    Raises:
        SkipError: It cannot.
    """
    if shutil.which(compiler) is None:
        raise SkipError(f"{compiler} not found")
    output = folder / "usable.so"
    done = run(
        [compiler, *flags.split(), "-shared", "-fPIC", "-x", "c", "-", "-o", output],
        stdin="int answer(void);\nint answer(void) { return 42; }\n",
    )
    if done.returncode != 0:
        raise SkipError(f"{compiler} cannot build with these flags: {last_line(done.output)}")


def build_library(compiler: str, flags: str, folder: Path) -> Path:
    """Build the C library alone, for C programs, and return the folder that it is in.

    Raises:
        CheckError: It cannot be built.
    """
    settings = ("CMAKE_BUILD_TYPE=None", f"CMAKE_C_COMPILER={compiler}", f"CMAKE_C_FLAGS={flags}", "AXPTR_WERROR=ON")
    options = [f"-D{setting}" for setting in settings]
    configure: list[str | Path] = ["cmake", "-G", "Ninja", "-S", ROOT, "-B", folder]
    demand(f"the library by {compiler} {flags}", run([*configure, *options]))
    demand(f"the library by {compiler} {flags}", run(["cmake", "--build", folder]))
    return folder


def build_program(compiler: str, flags: str, sources: Iterable[Path], library: Path, output: Path) -> Path:
    """Build a C program against the library in a folder, and return its path.

    Raises:
        CheckError: It cannot be built.
    """
    command = [compiler, "-std=c11", "-g", "-Wall", "-Wextra", "-Werror", *flags.split(), f"-I{ROOT / 'native'}"]
    command += [*map(str, sources), "-o", str(output), f"-L{library}", "-laxptr_native", f"-Wl,-rpath,{library}"]
    demand(output.name, run([*command, "-pthread"]))
    return output


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of the same number of cells in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
