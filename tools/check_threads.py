# SPDX-License-Identifier: MIT
"""Run threads that use the C library all at once under ThreadSanitizer, which reports data races."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from programs import (
    ROOT,
    CheckError,
    Outcome,
    SkipError,
    build_library,
    build_program,
    demand,
    last_line,
    require_usable,
    run,
    table,
)

COMPILERS = ("gcc", "clang")
SANITIZE = "-O1 -g -fsanitize=thread"
SOURCE = ROOT / "tests" / "native_threads" / "races.c"

# The library's handlers are under test, and not the sanitizer's.
ENVIRONMENT = {"TSAN_OPTIONS": "handle_segv=0:handle_sigbus=0:allow_user_segv_handler=1"}

CANARY = """
#include <pthread.h>
static int shared;
static void *count(void *unused)
{
    for (int i = 0; i < 100000; i++)
        shared++;
    return unused;
}
int main(void)
{
    pthread_t other;
    pthread_create(&other, NULL, count, NULL);
    count(NULL);
    return pthread_join(other, NULL);
}
"""
"""A race: a sanitizer that says nothing to this would see nothing else either."""


def try_canary(compiler: str, folder: Path) -> Outcome:
    """Run the canary."""
    program = folder / "canary"
    command = [compiler, *SANITIZE.split(), "-pthread", "-x", "c", "-", "-o", str(program)]
    demand(f"the canary by {compiler}", run(command, stdin=CANARY))
    return run([program], environment=ENVIRONMENT)


def check(compiler: str, seconds: int, folder: Path) -> str:
    """Run the threads as a compiler has built them, and return what came of it.

    Raises:
        SkipError: This machine cannot tell.
        CheckError: There was a race, or something was not as it should be.
    """
    require_usable(compiler, SANITIZE, folder)
    canary = try_canary(compiler, folder)
    if "ThreadSanitizer: data race" not in canary.output:
        raise SkipError(f"it does not run here, or sees no race: {last_line(canary.output)}")
    library = build_library(compiler, SANITIZE, folder)
    program = build_program(compiler, SANITIZE, [SOURCE], library, folder / "threads")
    return last_line(demand(compiler, run([program, str(seconds)], environment=ENVIRONMENT, timeout=seconds + 300)))


def main() -> int:
    """Check each compiler's build and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="for each compiler (default: 10)")
    seconds: int = parser.parse_args().seconds
    lines = [("compiler", f"8 threads, {seconds} s")]
    with tempfile.TemporaryDirectory() as temporary:
        for compiler in COMPILERS:
            folder = Path(temporary).resolve() / compiler
            folder.mkdir()
            try:
                lines.append((compiler, check(compiler, seconds, folder)))
            except SkipError as reason:
                lines.append((compiler, f"skipped: {reason}"))
            except CheckError as error:
                lines.append((compiler, str(error)))
    print(table(lines))
    return 1 if any(result.startswith("FAILED") for _, result in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
