# SPDX-License-Identifier: MIT
"""What the scripts that build the package share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

NO_CMAKE = r"(cmake|ninja|ctest|cpack)"
NO_COMPILER = NO_CMAKE + r"|.*\b(cc|gcc|clang|c89|c99|tcc)\b"
"""Patterns for programs, as :func:`tools_without` takes them."""


def tools_without(pattern: str, folder: Path) -> dict[str, str]:
    """Return an environment with the system's tools but those that match from their beginning; it needs the folder."""
    folder.mkdir()
    for entry in os.environ["PATH"].split(os.pathsep):
        for program in Path(entry).glob("*") if Path(entry).is_dir() else ():
            link = folder / program.name
            if not re.match(pattern, program.name) and not link.is_symlink():
                link.symlink_to(program)
    return {**os.environ, "PATH": str(folder)}


def run(*command: object, environment: Mapping[str, str] | None = None, folder: Path = ROOT) -> str:
    """Run a command and return what it printed; on failure print it and end."""
    status, output = try_to_run(*command, environment=environment, folder=folder)
    if status:
        sys.exit(f"{' '.join(map(str, command))}\n{output}")
    return output


def try_to_run(*command: object, environment: Mapping[str, str] | None = None, folder: Path = ROOT) -> tuple[int, str]:
    """Run a command and return its exit status and what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout
