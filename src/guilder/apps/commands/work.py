"""``guilder work``: background work in one process, for a database that is already there."""

from __future__ import annotations

from typing import Annotated

import typer

from guilder.apps.database import running_access
from guilder.apps.processes import Work, run
from guilder.apps.session import begin, say


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("work", short_help="Deliver events and run jobs.")(work)


def work(
    contexts: Annotated[
        list[str] | None, typer.Argument(help="Contexts whose work to do; all when none is named.")
    ] = None,
) -> None:
    """Deliver events and run jobs. Any number of these may run at once."""
    settings = begin()
    run(
        Work(
            settings=settings,
            access=running_access(settings),
            on=None,
            background=True,
            only=tuple(contexts or ()),
            ready=lambda: say("Working"),
        )
    )
