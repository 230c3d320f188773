# SPDX-License-Identifier: MIT
"""No benchmark, but it needs what draws the plots: they are as reproducible as the rest of the report."""

from pathlib import Path

import pytest
from plots import BAD_ADDRESSES, LATENCY, Line, draw
from report import BAD_ADDRESSES_PLOT, LATENCY_PLOT
from results import Run, Table, Timing, store


def measured(interpreter: str, lines: tuple[Line, ...]) -> Run:
    """Return a run that has measured what the lines show."""
    names = {line.table: [other.name for other in lines if other.table == line.table] for line in lines}
    tables = [
        Table("Reads", title, {column: dict.fromkeys(of_table, Timing(1e-6, 1.0, 0.0)) for column in ("8 B", "64 B")})
        for title, of_table in names.items()
    ]
    return Run(interpreter, {}, tables, [], {})


@pytest.mark.parametrize(("lines", "plot"), [(LATENCY, LATENCY_PLOT), (BAD_ADDRESSES, BAD_ADDRESSES_PLOT)])
def test_the_same_numbers_give_the_same_plots(tmp_path: Path, lines: tuple[Line, ...], plot: str) -> None:
    """Drawn twice, a plot is the same to the byte; it is small and shows every line of each interpreter."""
    for interpreter in ("CPython 3.11", "CPython 3.13"):
        store(tmp_path, measured(interpreter, lines))
    draw(tmp_path)
    first = (tmp_path / plot).read_text(encoding="utf-8")
    draw(tmp_path)
    assert (tmp_path / plot).read_text(encoding="utf-8") == first
    assert len(first) < 100_000
    for text in ("CPython 3.11", "CPython 3.13", *(line.label for line in lines)):
        assert f">{text}</text>" in first
