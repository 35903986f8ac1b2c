"""``guilder serve``: HTTP alone, for a database that is already there."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from guilder.apps.compose import prepare_keys
from guilder.apps.database import running_access
from guilder.apps.processes import (
    Work,
    duties,
    run,
    warn_of_one_address_for_all,
    warn_of_separate_counts,
)
from guilder.apps.server import address_of, listen
from guilder.apps.session import begin, say
from guilder.apps.workers import Workers


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("serve", short_help="Answer requests: everything, or some contexts alone.")(serve)


def serve(
    contexts: Annotated[
        list[str] | None, typer.Argument(help="Contexts to serve alone, behind a gateway.")
    ] = None,
) -> None:
    """Answer requests: the whole API, or some contexts alone. Run `guilder migrate` before.

    GUILDER_WORKERS says in how many processes.
    """
    settings = begin()
    access = running_access(settings)
    sockets = listen(settings.host, port=settings.port, count=settings.workers)
    prepare_keys(settings)
    work = Work(settings=settings, access=access, only=tuple(contexts or ()))

    if contexts:
        warn_of_one_address_for_all(settings)

    def ready() -> None:
        what = ", ".join(contexts) if contexts else "the API"
        say(f"Serving {what} on {address_of(sockets[0])}")

    if settings.workers == 1:
        run(replace(work, on=sockets[0], ready=ready))
        return
    warn_of_separate_counts(settings)
    Workers(duties(work, sockets=sockets, background=False), server=None, ready=ready).run()
