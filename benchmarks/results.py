# SPDX-License-Identifier: MIT
"""What a run has measured, as numbers that are stored beside the report: one file for each interpreter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """One alternative in one column: the median in seconds, the median ratio to the first row, and the noise."""

    seconds: float
    ratio: float
    noise: float


class Table(NamedTuple):
    """An operation: for each column's label the alternatives, by name."""

    part: str
    title: str
    columns: dict[str, dict[str, Timing]]


class Bar(NamedTuple):
    """A promise of speed, and what was measured.  Nothing fails when it is missed: the machine may be busy."""

    part: str
    operation: str
    promise: str
    measured: str
    met: bool | None
    """None: it could not be judged."""


class Run(NamedTuple):
    """All that one interpreter has measured in one run."""

    interpreter: str
    machine: dict[str, str]
    tables: list[Table]
    bars: list[Bar]
    unavailable: dict[str, str]
    """The reason, by what could not be measured."""


def rounded(number: float) -> float:
    """Return a number with the four digits that a measurement is worth."""
    return float(f"{number:.4g}")


def store(folder: Path, run: Run) -> None:
    """Replace what this interpreter has stored in the folder; never what another one has."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{run.interpreter.lower().replace(' ', '-')}.json"
    document = run._asdict() | {
        "tables": [table._asdict() for table in run.tables],
        "bars": [bar._asdict() for bar in run.bars],
    }
    written = target.with_suffix(".new")
    # A line for each timing, so that a difference between two runs can be read.
    text = re.sub(r"\[[-+.,\de\s]*\]", lambda match: " ".join(match[0].split()), json.dumps(document, indent=1))
    written.write_text(text + "\n", encoding="utf-8")
    written.replace(target)


def load(folder: Path) -> list[Run]:
    """Return what is stored in a folder, by version of the interpreter."""
    runs = [_run(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json")]
    return sorted(runs, key=lambda run: [*map(int, re.findall(r"\d+", run.interpreter)), run.interpreter])


def _run(document: dict[str, Any]) -> Run:
    for table in document["tables"]:
        for column in table["columns"].values():
            column.update({name: Timing(*timing) for name, timing in column.items()})
    tables = [Table(**table) for table in document["tables"]]
    return Run(**document | {"tables": tables, "bars": [Bar(**bar) for bar in document["bars"]]})
