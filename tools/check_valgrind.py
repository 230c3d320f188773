# SPDX-License-Identifier: MIT
"""Run the fuzz targets on inputs made up from a seed under valgrind's memcheck.

It sees what no sanitizer does: the library as it is shipped, whose accesses to user memory are the C library's memcpy
and its like.  The targets tell memcheck that user memory is good, so that nothing has to be suppressed: what is wrong
with an access is then with our own memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check_fuzz import FOLDER, TARGETS
from programs import (
    CheckError,
    SkipError,
    build_library,
    build_program,
    check_in_scratch,
    demand,
    last_line,
    require_usable,
    run,
    table,
)

FLAGS = "-O2 -g"
COMPILER = "cc"
MEMCHECK = (
    *("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--read-inline-info=yes"),
    # Without this it leaves out a load whose value nobody looks at, and so its fault.
    "--vex-iropt-register-updates=allregs-at-each-insn",
)

CANARY = """
#include <stdlib.h>
#include "axptr.h"
int main(void)
{
    static char good[64];
    char *small = malloc(16);
    int failed = axp_copy_from_user(small, (uintptr_t)good, sizeof good);
    free(small);
    return failed;
}
"""
"""A caller whose own buffer is too small."""


def check_canary(library: Path, folder: Path) -> None:
    """Make sure that memcheck sees an overflow of our own memory."""
    source = folder / "canary.c"
    source.write_text(CANARY, encoding="utf-8")
    done = run([*MEMCHECK, build_program(COMPILER, FLAGS, [source], library, folder / "canary")])
    if "Invalid write" not in done.output:
        print(f"==== the canary\n{done.output}", flush=True)
        raise CheckError("FAILED: memcheck is blind")


def check(target: str, inputs: int, seed: int, library: Path) -> tuple[str, str]:
    """Run a target under memcheck and return a line of the table."""
    sources = [FOLDER / f"{name}.c" for name in (target, "arena", "random_inputs")]
    try:
        program = build_program(COMPILER, FLAGS, sources, library, library / target)
        return target, last_line(demand(target, run([*MEMCHECK, program, str(inputs), str(seed)])))
    except CheckError as error:
        return target, str(error)


def check_all(inputs: int, seed: int, folder: Path) -> int:
    """Check each target, print the table, and return the exit status."""
    if shutil.which("valgrind") is None:
        raise SkipError("valgrind not found")
    require_usable(COMPILER, f"{FLAGS} -include valgrind/memcheck.h", folder)
    library = build_library(COMPILER, FLAGS, folder)
    check_canary(library, folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = list(pool.map(lambda target: check(target, inputs, seed, library), TARGETS))
    print(table([("target", "memcheck"), *lines]))
    return 1 if any(result.startswith("FAILED") for _, result in lines) else 0


def main() -> int:
    """Check each target and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=2000, help="for each target (default: 2000)")
    parser.add_argument("--seed", type=int, default=1, help="that the inputs are made up from (default: 1)")
    options = parser.parse_args()
    return check_in_scratch(lambda folder: check_all(options.inputs, options.seed, folder))


if __name__ == "__main__":
    sys.exit(main())
