# SPDX-License-Identifier: MIT
"""The report: Markdown of what the interpreters have measured and stored.  Run as a program, it is written anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from results import Bar, Run, Table, load
from units import in_seconds, times

PARTS = (
    "Reads",
    "Strings and searches",
    "Writes",
    "Faults",
    "Batches",
    "Threads",
    "Pointers, views and spaces",
    "Process",
    "C",
)
"""The report's parts, in order: each test module's PART is one of them."""

LATENCY_PLOT, BAD_ADDRESSES_PLOT = "latency.svg", "bad-addresses.svg"

_INTRODUCTION = f"""\
# Benchmarks

What a guarded access costs beside what one would do without the library.  To measure again:

```sh
pip install tox && tox -e bench-py311,bench-py313
```

It takes some minutes, and should have the machine for itself.  A run replaces the results of its own interpreter, and
only a whole run does.

Each table was measured in rounds, in which every row has its turn: what disturbs the machine disturbs all of them
alike.  A cell is the median time of a row, and the median of its ratio to the first row in the same round.  Noise is
half the interquartile range, relative to the median.

- The **floor extension** is a module written in C for this, called by METH_FASTCALL: it checks its arguments and guards
  nothing.  It converts an address by PyLong_AsUnsignedLongLong, as is usual.  The library does by PyLong_AsSize_t,
  which is faster by 10 to 30 ns, as much as a guard costs; so does the floor extension **by size_t**.
- **ctypes** and **cffi** are unguarded too.
- **process_vm_readv** is called through ctypes, finds its iovecs prepared, and makes no object of what it reads.
- **/proc/self/mem** is open already.
- **PyMemoryEditor** is told to read this process.

![Time of a read into bytes, by size](benchmarks/{LATENCY_PLOT})

![Time of an address of a batch, by the share of bad ones](benchmarks/{BAD_ADDRESSES_PLOT})

"""


def by_part(bar_or_table: Bar | Table) -> int:
    """Return a key that sorts by the order of the parts; what is in none of them comes last."""
    return PARTS.index(bar_or_table.part) if bar_or_table.part in PARTS else len(PARTS)


def markdown_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table whose first row is its head: the first column to the left, the others to the right."""
    # Neither a link nor the end of a cell.
    escaped = [[cell.replace("](", "]\\(").replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*escaped, strict=True)]
    for number, row in enumerate(escaped):
        aligned = (f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        yield "| " + " | ".join([f"{row[0]:<{widths[0]}}", *aligned]) + " |"
        if number == 0:
            yield "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"


def timings(table: Table) -> Iterator[str]:
    """Yield the lines of a table of timings."""
    names = dict.fromkeys(name for column in table.columns.values() for name in column)
    rows = [["", *table.columns]]
    for name in names:
        cells = (column.get(name) for column in table.columns.values())
        rows.append([name, *(f"{in_seconds(cell.seconds)}, {times(cell.ratio)}" if cell else "" for cell in cells)])
    noises = (max(cell.noise for cell in column.values()) for column in table.columns.values())
    rows.append(["noise, at most", *(f"{noise:.0%}" for noise in noises)])
    return markdown_table(rows)


def verdict(bar: Bar | None) -> str:
    """Return what was measured and whether it keeps the promise."""
    if bar is None:
        return ""
    return f"{bar.measured}, {'not judged' if bar.met is None else 'met' if bar.met else '**NOT MET**'}"


def promises(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of the table of promises, in which the runs are columns."""
    noted = [{bar[:3]: bar for bar in run.bars} for run in runs]
    keys = sorted({key: bar for bars in noted for key, bar in bars.items()}.values(), key=by_part)
    rows = [["operation", "promise", *(run.interpreter for run in runs)]]
    rows += [[key.operation, key.promise, *(verdict(bars.get(key[:3])) for bars in noted)] for key in keys]
    return markdown_table(rows)


def in_pairs(pairs: Sequence[dict[str, str]], runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of a table of what the runs say about the same things."""
    names = dict.fromkeys(name for pair in pairs for name in pair)
    head = ["", *(run.interpreter for run in runs)]
    return markdown_table([head, *([name, *(pair.get(name, "") for pair in pairs)] for name in names)])


def results(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of what was measured."""
    yield from ("## Promises", "", *promises(runs), "")
    if any(run.machine for run in runs):
        yield from ("## Machine", "", *in_pairs([run.machine for run in runs], runs), "")
    if any(run.unavailable for run in runs):
        yield from ("## Not measured, and why", "", *in_pairs([run.unavailable for run in runs], runs), "")
    tables = {(table.part, table.title): table for run in runs for table in run.tables}
    for part, of_part in groupby(sorted(tables.values(), key=by_part), key=lambda table: table.part):
        yield from (f"## {part}", "")
        for one in of_part:
            yield from _of_every_run(one, runs)


def render(runs: Sequence[Run]) -> str:
    """Return the report."""
    return _INTRODUCTION + "\n".join(results(runs)).rstrip() + "\n"


def _of_every_run(wanted: Table, runs: Sequence[Run]) -> Iterable[str]:
    yield from (f"### {wanted.title}", "")
    for run in runs:
        for table in run.tables:
            if table[:2] == wanted[:2]:
                yield from (f"{run.interpreter}:", "", *timings(table), "")


def write(docs: Path) -> None:
    """Write the report of what is stored."""
    (docs / "benchmarks.md").write_text(render(load(docs / "benchmarks")), encoding="utf-8")


if __name__ == "__main__":
    import plots

    folder = Path(__file__).parent.parent / "docs"
    write(folder)
    plots.draw(folder / "benchmarks")
