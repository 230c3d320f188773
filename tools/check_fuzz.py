# SPDX-License-Identifier: MIT
"""Fuzz the C library against a model of memory, and run the tests that make up their own examples for longer.

Each target of ``tests/native_fuzz`` is built twice: with AddressSanitizer and UndefinedBehaviorSanitizer, under which
loops stand for the C library's memcpy and its like, and as the library is shipped.  What follows on the command line
goes to pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from check_native import SANITIZER_ENVIRONMENT
from programs import (
    ROOT,
    SUITE_HANG,
    CheckError,
    build_library,
    build_program,
    check_in_scratch,
    demand,
    last_line,
    require_usable,
    run,
    table,
)

FOLDER = ROOT / "tests" / "native_fuzz"
TARGETS = ("batches", "copies", "scans", "strings", "words")
SANITIZERS = {
    "sanitized": "-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=address,undefined",
    "as shipped": "-O3 -g",
}

LONGEST_INPUT = 256
"""Bytes: some twenty operations."""

SHORT, EXAMPLES = 10, 500
"""Seconds for a target, and examples for a test, unless the command line says otherwise."""


class Target(NamedTuple):
    """A fuzz target, built."""

    name: str
    program: Path


def build(folder: Path) -> list[Target]:
    """Build each target in each way."""
    targets = []
    for way, flags in SANITIZERS.items():
        built = folder / way.replace(" ", "_")
        library = build_library("clang", f"{flags} -fsanitize=fuzzer-no-link", built)
        for name in TARGETS:
            sources = [FOLDER / f"{name}.c", FOLDER / "arena.c"]
            program = build_program("clang", f"{flags} -fsanitize=fuzzer", sources, library, built / name)
            targets.append(Target(f"{name}, {way}", program))
    return targets


def fuzz(target: Target, seconds: int, corpus: Path) -> tuple[str, str, str]:
    """Fuzz a target and return a line of the table: it, its runs, and the edges of its code that they reached."""
    corpus.mkdir()
    options = [f"-max_total_time={seconds}", f"-max_len={LONGEST_INPUT}", "-timeout=20", "-print_final_stats=1"]
    environment = SANITIZER_ENVIRONMENT | {"ASAN_OPTIONS": f"{SANITIZER_ENVIRONMENT['ASAN_OPTIONS']}:detect_leaks=1"}
    done = run([target.program, *options, corpus], environment=environment, cwd=corpus.parent, timeout=seconds + 120)
    said = demand(target.name, done)
    runs = re.search(r"number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    return target.name, f"{int(runs[1]):,}" if runs else "?", edges[-1] if edges else "?"


def fuzz_all(seconds: int, folder: Path) -> int:
    """Fuzz every target, as many side by side as there are processors, print the table, return the exit status."""

    def try_to_fuzz(target: Target) -> tuple[str, str, str]:
        try:
            return fuzz(target, seconds, folder / f"corpus {target.name}")
        except CheckError as error:
            return target.name, str(error), ""

    require_usable("clang", "-fsanitize=fuzzer-no-link,address,undefined", folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = list(pool.map(try_to_fuzz, build(folder)))
    print(table([(f"target, {seconds} s each", "inputs", "edges"), *lines]))
    return 1 if any("FAILED" in line[1] for line in lines) else 0


def run_examples(examples: int, arguments: Sequence[str]) -> int:
    """Run the tests that make up their own examples, with more of them, and return the exit status."""
    command = [sys.executable, "-m", "pytest", "-n", "auto", "-m", "hypothesis", *arguments]
    done = run(command, environment={"AXPTR_EXAMPLES": str(examples)}, timeout=SUITE_HANG)
    if done.returncode != 0:
        print(done.output)
    print(f"property tests, {examples} examples each: {last_line(done.output)}")
    return done.returncode


def main() -> int:
    """Fuzz everything and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=SHORT, help=f"for each C target (default: {SHORT})")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"for each property test (default: {EXAMPLES})")
    options, arguments = parser.parse_known_args()
    targets = check_in_scratch(lambda folder: fuzz_all(options.seconds, folder))
    return run_examples(options.examples, arguments) or targets


if __name__ == "__main__":
    sys.exit(main())
