"""``guilder migrate``: bring the database to what this version needs."""

from __future__ import annotations

import typer

from guilder.apps.database import migrated
from guilder.apps.session import begin


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("migrate", short_help="Bring the database to what this version needs.")(migrate)


def migrate() -> None:
    """Make roles and schemas, and run every migration that is pending. Safe to repeat."""
    settings = begin()
    count = migrated(settings, report=print)
    print(f"{count} migrations done." if count else "Nothing to migrate.")
