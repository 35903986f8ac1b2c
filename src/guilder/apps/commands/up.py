"""``guilder up``: everything on this machine, embedded PostgreSQL included."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import typer

from guilder import __version__
from guilder.apps.compose import prepare_keys
from guilder.apps.database import Reached, own_database
from guilder.apps.processes import Work, run
from guilder.apps.server import address_of, listen
from guilder.apps.session import begin, say
from guilder.apps.workers import Duty, Workers
from guilder.platform.settings import Settings


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("up", short_help="Start everything here, database included.")(up)


def up() -> None:
    """Start everything: database, migrations, keys, HTTP and background work. Ctrl-C stops it."""
    settings = begin()
    sockets = listen(settings.host, port=settings.port, count=settings.workers)
    with own_database(settings, report=say) as reached:
        prepare_keys(settings)
        ready = _announcement(settings, address=address_of(sockets[0]))
        if settings.workers == 1:
            run(_everything(settings, reached, on=sockets[0], ready=ready))
        else:
            _warn_of_separate_counts(settings)
            duties = _duties(settings, reached, sockets=sockets)
            Workers(duties, server=reached.server, ready=ready).run()
        say("Stopping")


def _warn_of_separate_counts(settings: Settings) -> None:
    if settings.rate_limit != "off" and settings.redis_url is None:
        say(
            f"Note: each of {settings.workers} processes counts requests on its own, so users may "
            f"send up to {settings.workers} times the rate limit; GUILDER_REDIS_URL counts together"
        )


def _everything(
    settings: Settings, reached: Reached, *, on: socket.socket, ready: Callable[[], None]
) -> Work:
    return Work(
        settings=settings,
        access=reached.access,
        on=on,
        background=True,
        ready=ready,
        server=reached.server,
    )


def _duties(
    settings: Settings, reached: Reached, *, sockets: Sequence[socket.socket]
) -> list[Duty]:
    """One process for each socket, and one for background work. The parent decides when to stop."""

    def serve(on: socket.socket | None, ready: Callable[[], None]) -> None:
        run(
            Work(
                settings=settings,
                access=reached.access,
                on=on,
                background=on is None,
                ready=ready,
            )
        )

    http = [Duty(name=f"http-{n}", run=partial(serve, on)) for n, on in enumerate(sockets, 1)]
    return [*http, Duty(name="background", run=partial(serve, None))]


def _first_steps(address: str) -> str:
    return (
        f"  curl {address}/api/v1/auth/register -H 'Content-Type: application/json' \\\n"
        '    -d \'{"email": "anna@example.com", "password": "a long passphrase",\n'
        '         "full_name": "Anna Rao", "phone": "+919876543210"}\'\n'
        f"  {_command()} --help\n"
    )


def _command() -> str:
    """How to type this command here: by its name, or by its place where that is not on the path."""
    if shutil.which("guilder"):
        return "guilder"
    return os.path.relpath(Path(sys.executable).with_name("guilder"))


def _announcement(settings: Settings, *, address: str) -> Callable[[], None]:
    def announce() -> None:
        say(
            f"\nGuilder {__version__} ({settings.env.value}) is ready.\n\n"
            f"  API             {address}/api/v1\n"
            f"  Documentation   {address}/docs\n"
            f"  Health          {address}/health/ready\n\n"
            f"Try next:\n\n{_first_steps(address)}\n"
            "Ctrl-C stops it.\n"
        )

    return announce
