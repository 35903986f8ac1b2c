"""``guilder bench``: measure this machine, against pgbench in the same run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from guilder import __version__
from guilder.apps.bench import report as reports
from guilder.apps.bench.ground import Ground, own_ground
from guilder.apps.bench.load import Generator, best_generator
from guilder.apps.bench.machine import load_now, this_machine
from guilder.apps.bench.run import FIGURES, Plan, Run
from guilder.apps.session import begin, say
from guilder.platform.startup import CannotStart


class UnknownFigure(CannotStart):
    """A figure was asked for by a name that none has."""


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("bench", short_help="Measure, against pgbench in the same run.")(bench)


def bench(
    *,
    only: Annotated[
        str, typer.Option(help=f"Figures, with commas between: {', '.join(FIGURES)}.")
    ] = ",".join(FIGURES),
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each figure is measured.")] = 10,
    scale: Annotated[int, typer.Option(min=1, help="Scale of pgbench's tables.")] = 50,
    people: Annotated[int, typer.Option(min=2, help="People, with ten wallets each.")] = 1000,
    workers: Annotated[str, typer.Option(help="Numbers of server processes to try.")] = "1,2",
    growth: Annotated[
        int, typer.Option(min=2, help="Entries to store before growth is measured.")
    ] = 1_000_000,
    profile: Annotated[
        bool, typer.Option(help="Also tell what each statement costs a transfer in the server.")
    ] = False,
    own_client: Annotated[bool, typer.Option(help="Do not use wrk, though it is there.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where the temporary data folder goes: the disk to measure.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where to write the figures as JSON.")] = Path(
        "bench-results"
    ),
) -> None:
    """Measure on a PostgreSQL of its own in a temporary folder. Your data is not touched."""
    begin()
    plan = Plan(
        only=_chosen(only),
        seconds=seconds,
        scale=scale,
        people=people,
        workers=tuple(int(count) for count in workers.split(",")),
        growth=growth,
        profile=profile,
    )
    generator = best_generator(own=own_client)
    with (
        own_ground(inside=folder, report=say) as ground,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        done = runner.run(_measure(ground, plan=plan, generator=generator))
    reports.show(done, console=Console())
    print(f"\nWritten to {reports.write(done, folder=results)}")


async def _measure(ground: Ground, *, plan: Plan, generator: Generator) -> reports.Report:
    machine = this_machine(ground.folder)
    run = Run(ground=ground, plan=plan, generator=generator, report=say)
    await run.measure()
    machine.load_after = load_now()
    return reports.Report(
        guilder=__version__,
        measured_at=reports.now(),
        machine=machine,
        postgres=run.settings,
        generator=generator.name,
        seconds=plan.seconds,
        figures=run.figures,
        skipped=run.skipped,
        profile=run.profile,
    )


def _chosen(only: str) -> frozenset[str]:
    chosen = frozenset(name.strip() for name in only.split(",") if name.strip())
    unknown = sorted(chosen - set(FIGURES))
    if unknown or not chosen:
        raise UnknownFigure(
            f"there is no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}"
        )
    return chosen
