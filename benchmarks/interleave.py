# SPDX-License-Identifier: MIT
"""Alternatives timed in turn, so that whatever disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Mapping
from typing import NamedTuple

Batch = Callable[[int], float]
"""Does something a number of times and returns the seconds that took."""


class Unavailable(NamedTuple):
    """In place of what this machine does not have."""

    reason: str


# Long beside the clock's resolution, short beside a scheduler's time slice.
_BATCH_SECONDS = 400e-6
_FEWEST_ROUNDS, _MOST_ROUNDS = 7, 2000


class Samples(NamedTuple):
    """Seconds that one operation took, for each alternative: the n-th of all of them were taken side by side."""

    seconds: dict[str, list[float]]

    def median(self, name: str) -> float:
        """Return the seconds of an alternative."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, baseline: str) -> float:
        """Return how many times as long as the baseline an alternative takes."""
        return statistics.median(a / b for a, b in zip(self.seconds[name], self.seconds[baseline], strict=True))

    def added(self, name: str, baseline: str) -> float:
        """Return the seconds that an alternative takes longer than the baseline."""
        return statistics.median(a - b for a, b in zip(self.seconds[name], self.seconds[baseline], strict=True))

    def noise(self, name: str) -> float:
        """Return half the interquartile range, relative to the median."""
        if len(self.seconds[name]) < 2:
            return 0.0
        low, middle, high = statistics.quantiles(self.seconds[name], n=4)
        return (high - low) / 2 / middle


def python(statement: str, **names: object) -> Batch | Unavailable:
    """Return a batch of a Python statement, which sees ``names`` as its globals, unless one of them cannot be had."""
    missing = next((value for value in names.values() if isinstance(value, Unavailable)), None)
    return missing or timeit.Timer(statement, globals=names).timeit


class Interleaving:
    """Rounds in which every alternative runs one batch; each round another one begins.

    Args:
        alternatives: What to time, by name.
        seconds: What all the rounds together may take.
        operations: How many operations, each a sample's unit, one call of a batch is.
    """

    def __init__(self, alternatives: Mapping[str, Batch], seconds: float, operations: int = 1) -> None:
        self.samples = Samples({name: [] for name in alternatives})
        self._operations = operations
        self._turns = [(name, batch, *_calibrate(batch)) for name, batch in alternatives.items()]
        a_round = sum(took for _, _, _, took in self._turns)
        self.rounds = max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, int(seconds / a_round)))

    def run_round(self) -> None:
        """Take one more sample of every alternative."""
        for name, batch, count, _ in self._turns:
            # The caches are full of what the one before has left.
            batch(max(count // 4, 1))
            self.samples.seconds[name].append(batch(count) / count / self._operations)
        self._turns.append(self._turns.pop(0))


def _calibrate(batch: Batch) -> tuple[int, float]:
    """Return how many calls fill a batch, and the seconds of that; warms up on the way."""
    count = 1
    # Twice: the first call may take a hundred times as long as the next.
    while (took := min(batch(count), batch(count))) < _BATCH_SECONDS / 2:
        count *= 2
    return count, took
