# SPDX-License-Identifier: MIT
"""What the benchmarks' report could get wrong without anybody noticing."""

import os
import re
import sys
from pathlib import Path

import plots
import pytest
import report
from bars import Bars
from child import Outcome, check, run_command
from interleave import Samples
from results import Bar, Run, Table, Timing, load, store

ROOT = Path(__file__).parent.parent

CONFTEST = """
def pytest_addoption(parser):
    for option in ("disable", "only", "skip"):
        parser.addoption(f"--benchmark-{option}", action="store_true")
"""
BENCHMARKS = """
import pytest
from recording import record_key
from results import Bar, Timing

@pytest.mark.parametrize("size", ["8 B", "64 B", "4 KiB"])
def test_copy(request, size):
    timings = {"ours": Timing(1e-9, 1.0, 0.0)}
    request.config.stash[record_key].add_column(request.node, "Reads", "Copies", size, timings)

def test_bar(request):
    request.config.stash[record_key].add_bars(request.node, [Bar("Reads", "copy", "at most 2 ns", "1 ns", True)])
"""
OTHER_BENCHMARKS = """
import pytest

def test_rival():
    pytest.skip("there is no rival")
"""
FAILS = "def test_broken():\n    assert not 'measured'\n"
FAILS_AFTERWARDS = """
@pytest.fixture
def broken():
    yield
    assert not "measured"

def test_broken(broken):
    pass
"""
DOES_NOT_COMPILE = "def test_broken(\n"


def run_benchmarks(project: Path, *options: str, more: str = "") -> Outcome:
    """Run pytest on benchmarks that measure nothing, in a project of their own."""
    folder = project / "benchmarks"
    folder.mkdir()
    (project / "docs").mkdir()
    (project / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_ours.py").write_text(BENCHMARKS + more)
    (folder / "test_theirs.py").write_text(OTHER_BENCHMARKS)
    arguments = options if any(option.startswith("benchmarks") for option in options) else ("benchmarks", *options)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "recording", *arguments]
    # The package may come from there too: tools/check_native.py installs each build to a folder of its own.
    paths = [str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return run_command(command, cwd=project, environment=environment)


def measured(interpreter: str, nanoseconds: float = 1.0) -> Run:
    """Return a run in which something took so long."""
    timings = {"ours": Timing(nanoseconds * 1e-9, 1.0, 0.01), "theirs": Timing(5e-9, 5.0, 0.25)}
    return Run(
        interpreter,
        {"processor": "one that counts to 10"},
        [Table("Reads", "Copies of [8]  bytes", {"8 B": timings, "64 B": {"ours": timings["ours"]}})],
        [Bar("Reads", "copy", "at most 2 ns", f"{nanoseconds} ns", nanoseconds <= 2)],
        {"rival": "there is none"},
    )


def test_a_whole_run_writes_the_report(tmp_path: Path) -> None:
    """Tables, columns as they stand in the file, promises, and what was skipped and why are in the document."""
    outcome = check(run_benchmarks(tmp_path))
    document = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "The report is written" in outcome.stdout
    assert re.search(r"### Copies\n\n\w+ [\d.]+t?:\n\n\| +\| +8 B \| +64 B \| +4 KiB \|", document)
    assert re.search(r"\| copy +\| at most 2 ns \| +1 ns, met \|", document)
    assert re.search(r"\| test_rival +\| +there is no rival \|", document)
    assert [run.tables[0].columns.keys() for run in load(tmp_path / "docs" / "benchmarks")] == [
        {"8 B", "64 B", "4 KiB"}
    ]


@pytest.mark.parametrize(
    "options",
    [
        ("-k", "copy"),
        ("-m", "slow"),
        ("--deselect", "benchmarks/test_ours.py::test_bar"),
        ("--ignore", "benchmarks/test_theirs.py"),
        ("benchmarks/test_ours.py",),
        ("benchmarks/test_ours.py", "benchmarks/test_theirs.py::test_rival"),
        ("--benchmark-disable",),
        ("--benchmark-only",),
        ("--benchmark-skip",),
        ("--collect-only",),
    ],
    ids=" ".join,
)
def test_a_partial_run_leaves_the_report_as_it_is(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Nothing is written beside the benchmarks, and the run says so."""
    outcome = run_benchmarks(tmp_path, *options)
    assert outcome.returncode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert list((tmp_path / "docs").iterdir()) == []
    assert "The report is left as it is: " in outcome.stdout


@pytest.mark.parametrize("broken", [FAILS, FAILS_AFTERWARDS, DOES_NOT_COMPILE], ids=["call", "teardown", "collection"])
def test_a_run_that_fails_leaves_the_report_as_it_is(tmp_path: Path, broken: str) -> None:
    """One benchmark that fails is one that has not measured."""
    outcome = run_benchmarks(tmp_path, "--continue-on-collection-errors", more=broken)
    assert outcome.returncode == pytest.ExitCode.TESTS_FAILED
    assert list((tmp_path / "docs").iterdir()) == []
    assert "The report is left as it is: " in outcome.stdout


def test_what_is_stored_is_what_was_measured(tmp_path: Path) -> None:
    """A run comes back from its file as it went in, to the last digit and space."""
    run = measured("CPython 3.11", 1.234)
    store(tmp_path, run)
    assert load(tmp_path) == [run]


def test_a_run_replaces_its_own_interpreters_results_alone(tmp_path: Path) -> None:
    """Another version's and a free-threaded build's are kept to the byte, and the report shows all of them."""
    others = ["CPython 3.9", "CPython 3.13", "CPython 3.13t"]
    for interpreter in ("CPython 3.11", *others):
        store(tmp_path / "benchmarks", measured(interpreter))
    before = {path.name: path.read_bytes() for path in (tmp_path / "benchmarks").iterdir()}
    store(tmp_path / "benchmarks", measured("CPython 3.11", 3.5))
    after = {path.name: path.read_bytes() for path in (tmp_path / "benchmarks").iterdir()}
    assert [name for name in before if before[name] != after[name]] == ["cpython-3.11.json"]
    assert len(after) == len(before) == 4

    report.write(tmp_path)
    document = (tmp_path / "benchmarks.md").read_text()
    assert re.findall(r"CPython \S+(?=:\n)", document) == [
        "CPython 3.9",
        "CPython 3.11",
        "CPython 3.13",
        "CPython 3.13t",
    ]
    assert re.search(
        r"\| copy .*\| +1.0 ns, met \| 3.5 ns, \*\*NOT MET\*\* \| +1.0 ns, met \| +1.0 ns, met \|", document
    )


def test_a_name_is_neither_a_link_nor_the_end_of_a_cell() -> None:
    """Brackets, parentheses and bars stay what they are."""
    lines = list(report.markdown_table([["", "3.11"], ["UserPtr[c_int](addr)", "1 ns"], ["a | b", "2 ns"]]))
    assert [line.replace(" ", "") for line in lines[2:]] == [r"|UserPtr[c_int]\(addr)|1ns|", r"|a\|b|2ns|"]
    assert len({len(line) for line in lines}) == 1


def test_the_same_numbers_give_the_same_report(tmp_path: Path) -> None:
    """In whatever order they were stored."""
    documents = set()
    for folder, order in (("a", ("CPython 3.11", "CPython 3.13")), ("b", ("CPython 3.13", "CPython 3.11"))):
        for interpreter in order:
            store(tmp_path / folder / "benchmarks", measured(interpreter))
        report.write(tmp_path / folder)
        documents.add((tmp_path / folder / "benchmarks.md").read_bytes())
    assert len(documents) == 1


def test_the_report_of_the_project_is_of_its_stored_results() -> None:
    """Nobody has written into it by hand, and nobody has forgotten to write it anew."""
    docs = ROOT / "docs"
    assert report.render(load(docs / "benchmarks")) == (docs / "benchmarks.md").read_text(encoding="utf-8")


def test_a_promise_of_being_faster_is_kept_by_the_faster_one() -> None:
    """Five times as fast is at least 4 x and not at least 6 x; what was not measured is neither met nor missed."""
    samples = Samples({"ours": [1.0, 1.0, 2.0], "theirs": [5.0, 5.0, 10.0]})
    noted: list[Bar] = []
    bars = Bars("Reads", noted)
    bars.faster("copy", samples, "ours", than="theirs", at_least=4)
    bars.faster("copy", samples, "ours", than="theirs", at_least=6)
    bars.faster("copy", samples, "theirs", than="ours", at_least=4)
    bars.faster("copy", samples, "ours", than="theirs", at_least=4, judged=False)
    bars.faster("copy", samples, "ours", than="rival", at_least=4)
    bars.ratio("copy", samples, "ours", to="theirs", at_most=0.2)
    bars.ratio("copy", samples, "theirs", to="ours", at_most=4)
    bars.added("copy", samples, "theirs", to="ours", at_most=4)
    bars.seconds("copy", samples, "theirs", at_most=4)
    assert [bar.met for bar in noted] == [True, False, False, None, None, True, False, True, False]
    assert noted[0] == Bar("Reads", "copy", "at least 4 x as fast as theirs", "5.00 x", True)


def test_the_plots_can_be_read_on_white_and_on_dark_pages() -> None:
    """Each colour has a contrast of 3 to 1 with both, as WCAG asks of graphics."""

    def luminance(color: str) -> float:
        parts = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for color in {plots.INK, *(line.color for line in (*plots.LATENCY, *plots.BAD_ADDRESSES))}:
        for page in ("#ffffff", "#0d1117"):
            low, high = sorted([luminance(color), luminance(page)])
            assert (high + 0.05) / (low + 0.05) >= 3, f"{color} on {page}"
