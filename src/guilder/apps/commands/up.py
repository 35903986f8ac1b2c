"""``guilder up``: everything on this machine, embedded PostgreSQL included."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import typer

from guilder import __version__
from guilder.apps.compose import prepare_keys
from guilder.apps.database import own_database
from guilder.apps.processes import Work, duties, warn_of_separate_counts
from guilder.apps.server import address_of, listen
from guilder.apps.session import begin, say
from guilder.apps.workers import Workers
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
        warn_of_separate_counts(settings)
        work = Work(settings=settings, access=reached.access)
        workers = duties(work, sockets=sockets, background=True)
        Workers(workers, server=reached.server, ready=ready).run()
        say("Stopping")


def _first_steps(address: str) -> str:
    return (
        f"  curl {address}/api/v1/auth/register -H 'Content-Type: application/json' \\\n"
        # Nobody of the journeys that are told elsewhere: each can be gone on one installation.
        '    -d \'{"email": "ben@example.com", "password": "a long passphrase",\n'
        '         "full_name": "Ben Okafor", "phone": "+919812345670"}\'\n'
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
