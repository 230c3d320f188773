# SPDX-License-Identifier: MIT
"""Measure what one run of the tests covers: lines of the C library and branches of the Python package.

What follows on the command line goes to pytest; with a part of the tests the limits are missed, of course.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from check_native import Build, environment_of, install
from programs import ROOT, SUITE_HANG, SkipError, check_in_scratch, demand, last_line, require_usable, run

COMPILER, FLAGS = "gcc", "-O0 -g --coverage -fprofile-update=atomic"
LINES_OF_C, BRANCHES_OF_PYTHON = 95.0, 95.0
"""Per cent that must be covered."""

CONFIGURATION = """
[run]
branch = true
parallel = true
patch = subprocess, _exit
source_pkgs =
    axptr_native
    axptr_native_pytest

[report]
exclude_also =
    if TYPE_CHECKING:
    if __name__ == "__main__":
partial_also = if not TYPE_CHECKING:
"""

STACK = "measuring takes stack"

NOT_MEASURED = {
    "test_environment.py::test_good_accesses_make_no_system_calls_but_a_few_at_each_tick": "measuring makes some",
    "test_builtins.py::test_the_suite_passes_on_the_other_path": "a part of it is run on the other path by itself",
    "test_space_fork.py::test_a_child_forked_during_operations_has_whole_spaces": (
        "sixty children write what they measured, which takes longer than they may"
    ),
    "test_space_fork.py::test_a_fork_with_little_stack_left_comes_to_its_end": STACK,
    "test_space_release.py::test_addresses_that_go_with_little_stack_left_go_with_the_next_ones": STACK,
}
"""Tests that cannot run while coverage is measured, or need not, and why."""

OTHER_PATH = {"AXPTR_OTHER_PATH": "1", "AXPTR_CALLS": "ctypes"}
ACCESSES = (
    "atomics",
    "bad_input",
    "exactness",
    "guarded_view",
    "injection",
    "injection_rules",
    "paging",
    "scans",
    "uaccess",
)
"""The tests of what has builtins, which are run through ctypes too."""


def require_tools(folder: Path) -> None:
    """Make sure that coverage can be measured here.

    Raises:
        SkipError: It cannot.
    """
    missing = [module for module in ("coverage", "gcovr") if importlib.util.find_spec(module) is None]
    missing += [] if shutil.which("gcov") else ["gcov"]
    if missing:
        raise SkipError(f"{', '.join(missing)} not found")
    require_usable(COMPILER, FLAGS, folder)


def run_tests(build: Build, installed: Path, folder: Path, arguments: Sequence[str]) -> str:
    """Run the tests with everything measured, on both paths of the calls, and return pytest's summaries.

    Raises:
        CheckError: One of them failed.
    """
    configuration = folder / "coveragerc"
    configuration.write_text(CONFIGURATION, encoding="utf-8")
    environment = environment_of(build, installed) | {"COVERAGE_FILE": str(folder / "coverage")}
    options = [f"--rootdir={ROOT}", f"--config-file={ROOT / 'pyproject.toml'}", "-p", "no:cacheprovider", "-n", "auto"]
    options += [f"--deselect=tests/{name}" for name in NOT_MEASURED]
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={configuration}", "-m", "pytest", *options]
    accesses = [ROOT / "tests" / f"test_{name}.py" for name in ACCESSES]
    summaries = []
    for path, tests in (({}, [ROOT / "tests"]), (OTHER_PATH, accesses)):
        done = run([*command, *arguments, *tests], environment=environment | path, cwd=folder, timeout=SUITE_HANG)
        summaries.append(last_line(demand("the tests", done)))
    return "\n".join(summaries)


def python_report(folder: Path) -> tuple[float, list[str]]:
    """Return the per cent of branches that were taken, and a line for each file with others."""
    environment = {"COVERAGE_FILE": str(folder / "coverage")}
    coverage = [sys.executable, "-m", "coverage"]
    configured = [f"--rcfile={folder / 'coveragerc'}"]
    demand("coverage combine", run([*coverage, "combine", *configured], environment=environment, cwd=folder))
    output = folder / "python.json"
    demand("coverage json", run([*coverage, "json", *configured, f"-o{output}"], environment=environment, cwd=folder))
    found = json.loads(output.read_text(encoding="utf-8"))

    def missed() -> Iterator[str]:
        for name, file in sorted(found["files"].items()):
            branches = ", ".join(f"{start}->{'exit' if end < 0 else end}" for start, end in file["missing_branches"])
            if branches:
                yield f"{os.path.relpath(folder / name, folder / 'installed')}: {branches}"

    return 100 * found["totals"]["covered_branches"] / found["totals"]["num_branches"], list(missed())


def c_report(folder: Path) -> tuple[float, list[str]]:
    """Return the per cent of lines that were run, and a line for each file with others."""
    output, built = folder / "gcovr.json", folder / "build" / "CMakeFiles" / "axptr_native.dir"
    # A source that is compiled once for each kind of processor has its functions more than once.
    options = ["--merge-mode-functions=merge-use-line-0", "--gcov-ignore-parse-errors=negative_hits.warn"]
    command = [sys.executable, "-m", "gcovr", "--root", str(ROOT), "--json", str(output), *options, str(built)]
    demand("gcovr", run(command))
    counts: dict[str, dict[int, int]] = {}
    for file in json.loads(output.read_text(encoding="utf-8"))["files"]:
        lines = counts.setdefault(file["file"], {})
        for line in file["lines"]:
            if not line.get("gcovr/noncode"):
                lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
    missed = {name: [str(line) for line, count in lines.items() if count == 0] for name, lines in counts.items()}
    total = sum(map(len, counts.values()))
    covered = total - sum(map(len, missed.values()))
    return 100 * covered / total, [f"{name}: {', '.join(lines)}" for name, lines in sorted(missed.items()) if lines]


def is_enough(what: str, limit: float, per_cent: float, missed: Sequence[str]) -> bool:
    """Print what was covered and what was not, and return whether it is enough."""
    print(f"\n{what}: {per_cent:.1f} %, of which {limit:.0f} % are asked for; not covered:")
    print("\n".join(f"  {line}" for line in missed) or "  nothing")
    return per_cent >= limit


def measure(folder: Path, arguments: Sequence[str]) -> int:
    """Run the tests, print what they covered, and return the exit status."""
    require_tools(folder)
    build = Build(COMPILER, FLAGS)
    print(run_tests(build, install(build, folder), folder, arguments))
    enough = [
        is_enough("lines of the C library", LINES_OF_C, *c_report(folder)),
        is_enough("branches of the Python package", BRANCHES_OF_PYTHON, *python_report(folder)),
    ]
    for name, why in NOT_MEASURED.items():
        print(f"deselected: {name}: {why}")
    return 0 if all(enough) else 1


def main() -> int:
    """Measure everything and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    _, arguments = parser.parse_known_args()
    return check_in_scratch(lambda folder: measure(folder, arguments))


if __name__ == "__main__":
    sys.exit(main())
