# SPDX-License-Identifier: MIT
"""The report's plots: SVG, by matplotlib, the same for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from report import BAD_ADDRESSES_PLOT, LATENCY_PLOT
from results import Run, Table, load
from units import in_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

READS = "Bytes, as an object"
GATHER_OWN_PAGES = "8 bytes from each of 10,000 addresses, each bad one on a page of its own"
GATHER_SHARED_PAGES = "8 bytes from each of 10,000 addresses, the bad ones on shared pages"
"""The titles of the tables that are plotted."""

INK = "#7a7a7a"
"""Of all that is no line.  It and the lines' colours can be told from white pages and from dark ones."""


class Line(NamedTuple):
    """How an alternative is drawn: the name it has in which table, and in the legend."""

    table: str
    name: str
    label: str
    color: str
    marker: str
    dashes: str = "-"


LATENCY = (
    Line(READS, "copy_from_user", "copy_from_user", "#e5484d", "o"),
    Line(READS, "floor extension", "floor extension, unguarded", INK, "x", "--"),
    Line(READS, "ctypes.string_at", "ctypes.string_at, unguarded", "#3b82f6", "s"),
    Line(READS, "cffi: unpack", "cffi, unguarded", "#0d9488", "^"),
    Line(READS, "os.pread of /proc/self/mem", "os.pread of /proc/self/mem", "#c2780c", "v"),
    Line(READS, "process_vm_readv", "process_vm_readv", "#a855f7", "D"),
    Line(READS, "PyMemoryEditor", "PyMemoryEditor", "#5b8c0a", "P"),
)
BAD_ADDRESSES = (
    Line(GATHER_OWN_PAGES, "gather_from_user", "gather_from_user, each bad one on its own page", "#e5484d", "o"),
    Line(GATHER_SHARED_PAGES, "gather_from_user", "gather_from_user, on shared pages", "#e5484d", "o", ":"),
    Line(GATHER_OWN_PAGES, "loop of copy_from_user", "loop of copy_from_user", "#0d9488", "^"),
    Line(
        GATHER_OWN_PAGES,
        "loop of ctypes.string_at",
        "loop of ctypes.string_at, which dies of a bad one",
        "#3b82f6",
        "s",
    ),
    Line(GATHER_OWN_PAGES, "loop of os.pread", "loop of os.pread of /proc/self/mem", "#c2780c", "v"),
    Line(GATHER_OWN_PAGES, "process_vm_readv", "process_vm_readv of up to 1,024 at a time", "#a855f7", "D"),
)


def draw(folder: Path) -> None:
    """Draw what is stored in a folder, into it."""
    runs = load(folder)
    _draw(folder / LATENCY_PLOT, runs, LATENCY, "bytes that are read", "time of a read")
    _draw(folder / BAD_ADDRESSES_PLOT, runs, BAD_ADDRESSES, "bad addresses among 10,000", "time of an address")


def _draw(path: Path, runs: Sequence[Run], lines: Sequence[Line], across: str, up: str) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "svg.fonttype": "none",  # text stays text: a tenth of the size
            "svg.hashsalt": "benchmarks",  # otherwise the names in the file are new ones each time
            "font.family": "sans-serif",
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": INK,
            "grid.alpha": 0.3,
            "lines.markersize": 5,
        }
    ):
        figure = Figure(figsize=(max(8, 5 * len(runs)), 5.2), layout="constrained")
        panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
        for run, panel in zip(runs, panels, strict=True):
            _draw_panel(panel, run, lines)
            panel.set_xlabel(across)
        panels[0].set_ylabel(up)
        drawn = {line.get_label(): line for panel in panels for line in panel.get_lines()}
        figure.legend(drawn.values(), drawn.keys(), loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})


def _draw_panel(panel: Axes, run: Run, lines: Sequence[Line]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    panel.set_title(run.interpreter)
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(numticks=20))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: in_seconds(seconds)))
    panel.grid()
    panel.spines[["top", "right"]].set_visible(False)
    for line in lines:
        for table in run.tables:
            if table.title == line.table:
                _draw_line(panel, table, line)


def _draw_line(panel: Axes, table: Table, line: Line) -> None:
    # By place, not by value: sizes and shares alike are spread evenly, and 0 is one of them.
    points = {
        place: column[line.name].seconds for place, column in enumerate(table.columns.values()) if line.name in column
    }
    if points:
        panel.plot(
            list(points), list(points.values()), line.dashes, color=line.color, marker=line.marker, label=line.label
        )
    panel.set_xticks(range(len(table.columns)), list(table.columns))
