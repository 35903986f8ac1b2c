"""``guilder serve``: HTTP in one process, for a database that is already there."""

from __future__ import annotations

from typing import Annotated

import typer

from guilder.apps.compose import prepare_keys
from guilder.apps.database import running_access
from guilder.apps.processes import Work, run
from guilder.apps.server import address_of, listen
from guilder.apps.session import begin, say


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("serve", short_help="Answer requests: everything, or some contexts alone.")(serve)


def serve(
    contexts: Annotated[
        list[str] | None, typer.Argument(help="Contexts to serve alone, behind a gateway.")
    ] = None,
) -> None:
    """Answer requests: the whole API, or some contexts alone. Run `guilder migrate` before."""
    settings = begin()
    access = running_access(settings)
    (listening,) = listen(settings.host, port=settings.port)
    prepare_keys(settings)

    def ready() -> None:
        what = ", ".join(contexts) if contexts else "the API"
        say(f"Serving {what} on {address_of(listening)}")

    run(
        Work(
            settings=settings,
            access=access,
            on=listening,
            background=False,
            only=tuple(contexts or ()),
            ready=ready,
        )
    )
