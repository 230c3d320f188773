# SPDX-License-Identifier: MIT
"""A pytest plugin: the ``compare`` fixture, and its tables and bars at the end of the run.

pytest-benchmark times one thing after the other.  Here its benchmark is a whole round of alternatives; the time of
each is in the benchmark's ``extra_info``, and so in ``--benchmark-json``, beside the description of the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from interleave import Batch, Interleaving, Samples

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

_NAME_WIDTH, _CELL_WIDTH = 30, 16


class Comparison(NamedTuple):
    """What one test measured.  ``table`` gathers those that differ in ``size`` alone."""

    place: tuple[str, int]
    table: str
    size: int
    samples: Samples


class Bar(NamedTuple):
    """A promise of speed, and what was measured.  Nothing fails when it is missed: the machine may be busy."""

    promise: str
    measured: str
    met: bool


class Results:
    """What the run has measured so far."""

    def __init__(self) -> None:
        self.comparisons: list[Comparison] = []
        self.bars: list[Bar] = []


_results = pytest.StashKey[Results]()


class Compare:
    """The fixture: times alternatives side by side."""

    def __init__(self, benchmark: BenchmarkFixture, place: tuple[str, int], results: Results) -> None:
        self._benchmark = benchmark
        self._place = place
        self._results = results

    def __call__(
        self, table: str, alternatives: Mapping[str, Batch], *, size: int = 0, seconds: float = 0.4
    ) -> Samples:
        """Time the alternatives, the first of which is the baseline.

        Args:
            table: Which table of the report they go to.
            alternatives: What to time, by name.
            size: Bytes that are accessed: the table's column.  0: there is only one.
            seconds: What it may take, roughly.
        """
        interleaving = Interleaving(alternatives, seconds)
        self._benchmark.group = table
        self._benchmark.pedantic(interleaving.run_round, rounds=interleaving.rounds)  # type: ignore[no-untyped-call]
        samples = interleaving.samples
        baseline = next(iter(alternatives))
        for name in alternatives:
            self._benchmark.extra_info[name] = {
                "seconds": samples.median(name),
                "ratio": samples.ratio(name, baseline),
                "noise": samples.noise(name),
            }
        self._results.comparisons.append(Comparison(self._place, table, size, samples))
        return samples


class Bars:
    """The fixture: notes promises of speed beside what was measured."""

    def __init__(self, noted: list[Bar]) -> None:
        self._noted = noted

    def seconds(self, promise: str, measured: float, limit: float) -> None:
        """Note a bar on a time."""
        self._noted.append(Bar(f"{promise}: at most {in_units(limit)}", in_units(measured), measured <= limit))

    def ratio(self, promise: str, measured: float, limit: float) -> None:
        """Note a bar on a ratio."""
        self._noted.append(Bar(f"{promise}: at most x {limit:.2f}", f"x {measured:.2f}", measured <= limit))

    def count(self, promise: str, measured: int, limit: int) -> None:
        """Note a bar on a number."""
        self._noted.append(Bar(f"{promise}: at most {limit}", str(measured), measured <= limit))


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Compare:
    """Time alternatives side by side."""
    path, line, _ = request.node.location
    return Compare(benchmark, (path, line or 0), request.config.stash[_results])


@pytest.fixture
def bars(request: pytest.FixtureRequest) -> Bars:
    """Note promises of speed."""
    return Bars(request.config.stash[_results].bars)


def pytest_configure(config: pytest.Config) -> None:
    """Start with no results."""
    config.stash[_results] = Results()


def pytest_benchmark_group_stats() -> list[Any]:
    """Show no table of pytest-benchmark's: the time of a round of alternatives says nothing."""
    return []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the machine, a table for each operation, and the bars."""
    results = config.stash[_results]
    if config.getoption("benchmark_disable") or not (results.comparisons or results.bars):
        return  # one round says nothing
    terminalreporter.section("benchmarks")
    machine = config.hook.pytest_benchmark_generate_machine_info(config=config)
    cpu = machine["cpu"]
    terminalreporter.line(
        f"{cpu.get('brand_raw', machine['machine'])}, {cpu.get('count', '?')} CPUs, "
        f"{machine['system']} {machine['release']}, "
        f"{machine['python_implementation']} {machine['python_version']}"
    )
    terminalreporter.line("Medians, and the median ratio to the first row.  Noise: half the interquartile range.")
    tables: dict[str, list[Comparison]] = {}
    for comparison in sorted(results.comparisons, key=lambda one: (one.place, one.size)):
        tables.setdefault(comparison.table, []).append(comparison)
    for title, columns in tables.items():
        terminalreporter.line("")
        for line in _table(title, columns):
            terminalreporter.line(line)
    terminalreporter.line("")
    for bar in sorted(results.bars):
        terminalreporter.line(f"{'met' if bar.met else 'NOT MET':>8}  {bar.promise}; measured {bar.measured}")


def _table(title: str, columns: list[Comparison]) -> Iterable[str]:
    names = list(columns[0].samples.seconds)
    baseline = names[0]
    yield f"{title:{_NAME_WIDTH}}" + "".join(f"{_in_bytes(one.size):>{_CELL_WIDTH}}" for one in columns)
    for name in names:
        cells = (f"{in_units(one.samples.median(name))} {one.samples.ratio(name, baseline):6.2f}" for one in columns)
        yield f"  {name:{_NAME_WIDTH - 2}}" + "".join(f"{cell:>{_CELL_WIDTH}}" for cell in cells)
    noises = (max(one.samples.noise(name) for name in names) for one in columns)
    yield f"  {'(noise, at most)':{_NAME_WIDTH - 2}}" + "".join(f"{noise:>{_CELL_WIDTH}.0%}" for noise in noises)


def in_units(seconds: float) -> str:
    """Return a time as a person reads it."""
    for unit, factor in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        if abs(seconds) * factor < 999.5:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _in_bytes(size: int) -> str:
    if size == 0:
        return ""
    for unit in ("B", "KiB"):
        if size < 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} MiB"
