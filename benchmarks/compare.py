"""Compares two results of ``guilder bench``: name the file before and the file after.

A machine's mood is not the code's: look at the ratios to pgbench of the same run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from guilder.apps.bench.figure import Figure
from guilder.apps.bench.report import Report


def read(path: str) -> dict[str, Figure]:
    """The figures of a result by name."""
    report = msgspec.json.decode(Path(path).read_bytes(), type=Report)
    return {figure.name: figure for figure in report.figures}


def table(before: dict[str, Figure], after: dict[str, Figure]) -> Table:
    """A row for each figure that both have."""
    made = Table(box=None, pad_edge=False)
    made.add_column("figure")
    for heading in ("before", "after", "after / before", "ratio before", "ratio after"):
        made.add_column(heading, justify="right")
    for name in (name for name in before if name in after):
        old, new = before[name], after[name]
        change = new.value / old.value if old.value else float("nan")
        values = (f"{figure.value:,.6g} {figure.unit}" for figure in (old, new))
        ratios = ("" if f.ratio is None else f"{f.ratio:.2f}" for f in (old, new))
        made.add_row(name, *values, f"{change:.2f}", *ratios)
    return made


def main() -> None:
    """Print the comparison of the two files that the arguments name."""
    if len(sys.argv) != 3:
        sys.exit("two results are needed: before and after")
    before, after = sys.argv[1:]
    Console().print(table(read(before), read(after)))


if __name__ == "__main__":
    main()
