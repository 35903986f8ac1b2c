"""``guilder keys rotate``: a new key for access tokens; the tokens that are out stay good."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from guilder.apps.compose import key_folder
from guilder.apps.session import begin


def register(cli: typer.Typer) -> None:
    """Add the command."""
    keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    keys.callback(help="Change the keys that sign access tokens.")(_keys)
    keys.command("rotate", short_help="Add a key, and delete those that are not needed.")(rotate)
    cli.add_typer(keys, name="keys", short_help="Change the keys that sign access tokens.")


def _keys() -> None:
    pass


def rotate() -> None:
    """Add a signing key. It is published now and signs once everyone has had time to learn it.

    The key before it verifies until the last token it signed has expired. Running servers notice.
    """
    settings = begin()
    added = key_folder(settings).rotate()
    signs_from = datetime.fromtimestamp(added.signs_from, UTC)
    print(f"Key {added.kid} signs from {signs_from:%Y-%m-%d %H:%M:%S} UTC.")
