"""``guilder keys``: rotate what signs tokens and what encrypts people; encrypt the key files."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from guilder.apps.compose import key_folder, outer_keys
from guilder.apps.database import any_database, pool
from guilder.apps.passphrases import key_folders, key_passphrase, keys_dir
from guilder.apps.session import begin, say
from guilder.identity.api.personal_data import Rotated
from guilder.identity.module import build_personal_rotation
from guilder.platform.key_files import KeyFiles
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart


class SomeInClear(CannotStart):
    """Somebody's data could not be encrypted."""


class SomeUnfound(CannotStart):
    """Somebody could not be entered in the new index."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    keys.callback(help="Rotate the keys that sign tokens and encrypt people; encrypt key files.")(
        _keys
    )
    keys.command("rotate", short_help="Add a key, and delete those that are not needed.")(rotate)
    keys.command("encrypt", short_help="Encrypt the key files with the passphrase.")(encrypt)
    keys.command("rotate-personal", short_help="Change the keys of personal data.")(rotate_personal)
    cli.add_typer(keys, name="keys", short_help="Rotate keys; encrypt key files.")


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


def rotate_personal(
    *,
    new_keys: Annotated[
        bool,
        typer.Option(
            help="Give everybody a key of their own anew and encrypt all fields again.",
        ),
    ] = False,
    prepare: Annotated[
        bool,
        typer.Option(help="Only make the new keys, to be copied to every server's key folder."),
    ] = False,
) -> None:
    """Change what emails, phones and names are encrypted and found with, while servers go on.

    Everybody's own key stays, wrapped by a new outer key. Whoever is still in clear is encrypted.
    If it is cut short, run it again. Servers that do not share this key folder need the new files
    first: see --prepare. Keep the old ones for as long as you keep backups from before.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        rotated = asyncio.run(
            _rotate_personal(settings, access=reached.access, new_keys=new_keys, prepare=prepare)
        )
    if isinstance(rotated, UUID):
        print(f"Made {rotated}.kek and contacts.{rotated}.key in {keys_dir(settings)}.")
        return
    print(
        f"Keys wrapped anew: {rotated.rewrapped}. Found by a new index: {rotated.reindexed}. "
        f"Encrypted: {rotated.sealed}. Encrypted again: {rotated.resealed}."
    )
    if rotated.left:
        raise SomeInClear(
            f"{rotated.left} users are still in clear: somebody else has registered with their "
            "email or phone; the log names them"
        )
    if rotated.unfound:
        raise SomeUnfound(
            f"{rotated.unfound} users are found by the old index alone, which stays: somebody else "
            "has registered with their email or phone; the log names them"
        )


async def _rotate_personal(
    settings: Settings, *, access: Access, new_keys: bool, prepare: bool
) -> Rotated | UUID:
    async with pool(access, settings=settings, name="keys") as db:
        rotation = build_personal_rotation(db=db, contacts=outer_keys(settings))
        if prepare:
            return await rotation.prepare(new_keys=new_keys)
        return await rotation.rotate(
            new_keys=new_keys, report=lambda step, users: say(f"{users} users {step}")
        )
