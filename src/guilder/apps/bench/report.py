"""Tells what was measured: a table for people, and a file for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guilder.apps.bench.figure import Figure, Skipped
from guilder.apps.bench.machine import Machine
from guilder.apps.bench.profile import Share, table


class Report(msgspec.Struct, kw_only=True):
    """A run: where, with what, and every figure."""

    guilder: str
    measured_at: datetime
    machine: Machine
    postgres: dict[str, str]
    generator: str
    seconds: float
    figures: list[Figure]
    skipped: list[Skipped]
    profile: list[Share]


def write(report: Report, *, folder: Path) -> Path:
    """Store a run under a name that sorts by time, and answer where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.measured_at.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return path


def show(report: Report, *, console: Console) -> None:
    """Print a run."""
    machine, postgres = report.machine, report.postgres
    console.print(
        f"\n{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, "
        f"{machine.file_system}; load {machine.load_before} before, {machine.load_after} after"
    )
    console.print(
        f"{machine.kernel}, {machine.python}, PostgreSQL {postgres['server_version']}; "
        f"load by {report.generator}, {report.seconds:g} s a figure"
    )
    durable = ", ".join(f"{name} {value}" for name, value in postgres.items() if name[0] != "s")
    console.print(f"{durable}, synchronous_commit {postgres['synchronous_commit']}\n")
    figures = Table(box=None, pad_edge=False)
    figures.add_column("figure")
    for heading in ("value", "ratio", "target"):
        figures.add_column(heading, justify="right", no_wrap=True)
    for figure in report.figures:
        figures.add_row(*_row(figure))
    console.print(figures)
    for figure in report.figures:
        said = ", ".join(
            f"{name} {value:{_format(value)}}" for name, value in figure.detail.items()
        )
        console.print(Text.assemble((f"\n{figure.name}: ", "bold"), (said, "dim")), end="")
    console.print()
    if report.profile:
        console.print(table(report.profile))
    for skipped in report.skipped:
        console.print(Text(f"{skipped.name} was not measured: {skipped.reason}", style="yellow"))


def _row(figure: Figure) -> tuple[Text | str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    target = "" if figure.target is None else f"{'≤' if figure.is_cost else '≥'} {figure.target:g}"
    style = {True: "green", False: "red", None: ""}[figure.reached]
    against = f" (ratio to {figure.against})" if figure.against not in {"", "pgbench"} else ""
    return (
        Text.assemble((figure.title, "bold"), against),
        f"{figure.value:,.{0 if figure.value >= 100 else 2}f} {figure.unit}",
        Text(ratio, style=style),
        Text(target, style=style),
    )


def _format(value: float | str) -> str:
    return "" if isinstance(value, str) else ",.6g"


def now() -> datetime:
    """The time a run is filed under."""
    return datetime.now(UTC)
