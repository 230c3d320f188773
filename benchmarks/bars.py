# SPDX-License-Identifier: MIT
"""Promises of speed, noted beside what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results import Bar
from units import in_seconds, times

if TYPE_CHECKING:
    from interleave import Samples


class Bars:
    """The fixture: each method notes a promise about an operation, which nothing fails by.

    A bar on an alternative that was not available is noted as not measured.
    """

    def __init__(self, part: str, noted: list[Bar]) -> None:
        self._part = part
        self._noted = noted

    def seconds(self, operation: str, samples: Samples, name: str, *, at_most: float) -> None:
        """Note a bar on the time of an alternative."""
        promise = f"at most {in_seconds(at_most)}"
        if not self._note_missing(operation, promise, samples, name):
            measured = samples.median(name)
            self._note(operation, promise, in_seconds(measured), measured <= at_most)

    def added(self, operation: str, samples: Samples, name: str, *, to: str, at_most: float) -> None:
        """Note a bar on how much longer than another an alternative takes."""
        promise = f"at most {in_seconds(at_most)} more than {to}"
        if not self._note_missing(operation, promise, samples, name, to):
            measured = samples.added(name, to)
            self._note(operation, promise, in_seconds(measured), measured <= at_most)

    def ratio(self, operation: str, samples: Samples, name: str, *, to: str, at_most: float) -> None:
        """Note a bar on how many times as long as another an alternative takes."""
        promise = f"at most {at_most:g} x the time of {to}"
        if not self._note_missing(operation, promise, samples, name, to):
            measured = samples.ratio(name, to)
            self._note(operation, promise, times(measured), measured <= at_most)

    def faster(
        self,
        operation: str,
        samples: Samples,
        name: str,
        *,
        than: str,
        at_least: float,
        judged: bool = True,
        note: str = "",
    ) -> None:
        """Note a bar on how many times as fast as another an alternative is; ``judged``: whether that can be told."""
        promise = f"at least {at_least:g} x as fast as {than}"
        if not self._note_missing(operation, promise, samples, name, than):
            measured = samples.ratio(than, name)
            self._note(operation, promise, times(measured) + note, measured >= at_least if judged else None)

    def count(self, operation: str, measured: int, *, at_most: int, note: str = "") -> None:
        """Note a bar on a number."""
        self._note(operation, f"at most {at_most}", f"{measured}{note}", measured <= at_most)

    def _note(self, operation: str, promise: str, measured: str, met: bool | None) -> None:
        self._noted.append(Bar(self._part, operation, promise, measured, met))

    def _note_missing(self, operation: str, promise: str, samples: Samples, *names: str) -> bool:
        missing = [name for name in names if name not in samples.seconds]
        if missing:
            self._note(operation, promise, f"there is no {missing[0]}", None)
        return bool(missing)
