# SPDX-License-Identifier: MIT
"""A pytest plugin: gathers what the run measures, prints it, and writes the report if the run was a whole one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plots
import pytest
import report
from machine import describe, interpreter
from results import Bar, Run, Table, Timing, store

FOLDER = "benchmarks"
"""Of the benchmarks, in the project's root, and of the stored results, in its ``docs``."""

_MEASURING_LESS = ("benchmark_disable", "benchmark_only", "benchmark_skip", "collectonly", "setuponly", "setupplan")


class Record:
    """What the run has measured so far; where its tests stand in their files, and which have ended."""

    def __init__(self) -> None:
        self.unavailable: dict[str, str] = {}
        self._comparisons: list[tuple[int, str, str, str, dict[str, Timing]]] = []
        self._bars: list[tuple[int, Bar]] = []
        self._places: dict[str, int] = {}
        self._ended: set[str] = set()

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Remember the order in which the tests stand: they may run in another one."""
        self._places[item.nodeid] = len(self._places)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what has ended, and why it was skipped."""
        if report.skipped or (report.passed and report.when == "call"):
            self._ended.add(report.nodeid)
        if report.skipped and isinstance(report.longrepr, tuple):
            self.unavailable[report.nodeid.rpartition("::")[2]] = report.longrepr[2].removeprefix("Skipped: ")

    def add_column(self, item: pytest.Item, part: str, title: str, label: str, timings: dict[str, Timing]) -> None:
        """Take what a test has compared."""
        self._comparisons.append((self._places[item.nodeid], part, title, label, timings))

    def add_bars(self, item: pytest.Item, bars: Sequence[Bar]) -> None:
        """Take what a test has promised."""
        self._bars += ((self._places[item.nodeid], bar) for bar in bars)

    def tables(self) -> list[Table]:
        """Return what was compared: tables, and their columns, as they stand in the files, part by part."""
        tables: dict[tuple[str, str], Table] = {}
        for _, part, title, label, timings in sorted(self._comparisons, key=lambda one: one[0]):
            tables.setdefault((part, title), Table(part, title, {})).columns[label] = timings
        return sorted(tables.values(), key=report.by_part)

    def bars(self) -> list[Bar]:
        """Return what was promised, in the same order."""
        return sorted((bar for _, bar in sorted(self._bars, key=lambda one: one[0])), key=report.by_part)

    def why_not_whole(self, config: pytest.Config, exit_status: int) -> str | None:
        """Return what keeps the run from having measured everything, or None."""
        for option in _MEASURING_LESS:
            if config.getoption(option, False):
                return f"the option {option} was given"
        if any("::" in argument for argument in config.args):
            return "single tests were asked for"
        files = {Path(nodeid.partition("::")[0]) for nodeid in self._places}
        left_out = {path.relative_to(config.rootpath) for path in (config.rootpath / FOLDER).glob("test_*.py")} - files
        if left_out:
            return f"{len(left_out)} of the benchmarks' files were left out"
        did_not_run = self._places.keys() - self._ended
        if did_not_run:
            return f"{len(did_not_run)} tests were deselected, or failed"
        if exit_status != 0:
            return "the run failed"
        return None


record_key = pytest.StashKey[Record]()


def pytest_configure(config: pytest.Config) -> None:
    """Start with nothing."""
    config.stash[record_key] = Record()
    config.pluginmanager.register(config.stash[record_key])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Print what was measured, and write the report."""
    record = config.stash[record_key]
    partial = record.why_not_whole(config, exitstatus)
    terminalreporter.section("benchmarks")
    if not config.getoption("benchmark_disable", False):  # one round says nothing
        machine = describe() if partial is None else {}
        run = Run(interpreter(), machine, record.tables(), record.bars(), record.unavailable)
        for line in report.results([run]):
            terminalreporter.line(line)
        if partial is None:
            terminalreporter.line(_publish(config.rootpath / "docs", run))
    if partial is not None:
        terminalreporter.line(f"The report is left as it is: {partial}.")


def _publish(docs: Path, run: Run) -> str:
    store(docs / FOLDER, run)
    report.write(docs)
    try:
        plots.draw(docs / FOLDER)
    except ModuleNotFoundError as error:
        return f"The report is written, without its plots: {error}."
    return "The report is written."
