"""``guilder keys``: rotate what signs access tokens, and encrypt every key file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from guilder.apps.compose import key_folder
from guilder.apps.passphrases import key_folders, key_passphrase
from guilder.apps.session import begin
from guilder.platform.key_files import KeyFiles


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    keys.callback(help="Rotate the keys that sign access tokens; encrypt key files.")(_keys)
    keys.command("rotate", short_help="Add a key, and delete those that are not needed.")(rotate)
    keys.command("encrypt", short_help="Encrypt the key files with the passphrase.")(encrypt)
    cli.add_typer(keys, name="keys", short_help="Rotate signing keys; encrypt key files.")


def _keys() -> None:
    pass


def rotate() -> None:
    """Add a signing key. It is published now and signs once everyone has had time to learn it.

    The key before it verifies until the last token it signed has expired. Running servers notice.
    They rotate by themselves every GUILDER_KEY_ROTATION_DAYS.
    """
    settings = begin()
    added = key_folder(settings).rotate()
    signs_from = datetime.fromtimestamp(added.signs_from, UTC)
    print(f"Key {added.kid} signs from {signs_from:%Y-%m-%d %H:%M:%S} UTC.")


def encrypt(
    former: Annotated[
        Path | None,
        typer.Option(
            "--former-passphrase-file",
            help="File whose first line is the passphrase that the keys are encrypted with so far.",
        ),
    ] = None,
) -> None:
    """Encrypt every key file that GUILDER_KEY_PASSPHRASE does not open yet.

    Keys stay the same. If it is cut short, run it again. Restart servers that were started without
    this passphrase: until then they go on with the keys they know.
    """
    settings = begin()
    passphrase = key_passphrase(settings, former=former)
    folders = key_folders(settings)
    count = sum(KeyFiles(folder, passphrase=passphrase).encrypt() for folder in folders)
    print(f"Key files encrypted: {count}." if count else "All key files are encrypted already.")
