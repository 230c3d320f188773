# SPDX-License-Identifier: MIT
"""A pytest plugin: the fixtures ``compare`` and ``bars``.  A module that uses them says in PART where in the report.

pytest-benchmark times one thing after the other.  Here its benchmark is a whole round of alternatives; the time of
each is in the benchmark's ``extra_info``, and so in ``--benchmark-json``, beside the description of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from bars import Bars
from interleave import Batch, Interleaving, Samples, Unavailable
from recording import record_key
from results import Bar, Timing, rounded

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture


class Compare:
    """The fixture: times alternatives side by side."""

    def __init__(self, benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> None:
        self._benchmark = benchmark
        self._request = request

    def __call__(
        self,
        table: str,
        alternatives: Mapping[str, Batch | Unavailable],
        *,
        column: str = "",
        operations: int = 1,
        seconds: float = 0.4,
    ) -> Samples:
        """Time the alternatives, the first of which is the baseline.

        Args:
            table: The title of the table of the report that they go to.
            alternatives: What to time, by name.  What is not available is noted, and left out.
            column: What tells this from the table's other columns: a size, most often.
            operations: How many one call of an alternative does; times are those of one.
            seconds: What it may take, roughly.
        """
        record, part = self._request.config.stash[record_key], self._request.module.PART
        available = {name: batch for name, batch in alternatives.items() if not isinstance(batch, Unavailable)}
        record.unavailable |= {
            name: batch.reason for name, batch in alternatives.items() if isinstance(batch, Unavailable)
        }
        interleaving = Interleaving(available, seconds, operations)
        self._benchmark.group = table
        self._benchmark.pedantic(interleaving.run_round, rounds=interleaving.rounds)  # type: ignore[no-untyped-call]
        samples = interleaving.samples
        baseline = next(iter(available))
        timings = {
            name: Timing(*map(rounded, (samples.median(name), samples.ratio(name, baseline), samples.noise(name))))
            for name in available
        }
        self._benchmark.extra_info.update({name: timing._asdict() for name, timing in timings.items()})
        record.add_column(self._request.node, part, table, column, timings)
        return samples


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Compare:
    """Time alternatives side by side."""
    return Compare(benchmark, request)


@pytest.fixture
def bars(request: pytest.FixtureRequest) -> Iterator[Bars]:
    """Note promises of speed."""
    noted: list[Bar] = []
    yield Bars(request.module.PART, noted)
    request.config.stash[record_key].add_bars(request.node, noted)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_group_stats() -> list[Any]:
    """Show no table of pytest-benchmark's: the time of a round of alternatives says nothing."""
    return []
