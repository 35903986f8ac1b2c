"""``guilder audit``: publish signed heads, change the keys, and erase a person."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final
from uuid import UUID

import typer

from guilder.apps.compose import audit_folders
from guilder.apps.database import any_database, pool
from guilder.apps.session import begin, say
from guilder.audit.api import NotCopied, Published, Rewrapped
from guilder.audit.module import build_erasing, build_publishing, build_rotation
from guilder.ledger.module import build_heads
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart

_ABOUT: Final = "Publish signed heads; change audit's keys; erase a person."


class CannotCopy(CannotStart):
    """The bucket that keeps a copy of the heads does not take them."""


class KeysUnreadable(CannotStart):
    """Some keys were changed behind Guilder's back, or what wraps them is gone."""


class NobodyNamed(CannotStart):
    """Neither a person's id nor a name that was tried was given, or both."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    audit = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    audit.callback(help=_ABOUT)(_audit)
    audit.command("publish", short_help="State all heads, signed, outside the database.")(publish)
    audit.command("erase-person", short_help="Destroy the key of a person.")(erase_person)
    audit.command("rotate-keys", short_help="Change audit's own keys.")(rotate_keys)
    cli.add_typer(
        audit, name="audit", short_help="Publish signed heads; change audit's keys; erase a person."
    )


def _audit() -> None:
    pass


def publish() -> None:
    """Sign what every audit chain and every ledger account ended with, and file it.

    Servers do this by themselves from time to time. Copy the folder to where the database's
    administrators cannot write; `guilder verify --heads FOLDER` compares.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        try:
            published = asyncio.run(_publish(settings, access=reached.access))
        except NotCopied as problem:
            raise CannotCopy(f"published here, and not copied to {problem}") from problem
    if published is None or not published.is_new:
        print(f"Nothing has changed since the last publication in {settings.heads_dir}.")
        return
    print(
        f"Publication {published.number} in {settings.heads_dir}: {published.records} audit "
        f"records, {published.accounts} ledger accounts that moved."
    )
    if not published.covers_ledger:
        say("Warning: a transaction runs for too long; the next publication covers the ledger.")


async def _publish(settings: Settings, *, access: Access) -> Published | None:
    async with pool(access, settings=settings, name="audit") as db:
        folders = audit_folders(settings)
        return await build_publishing(db=db, ledger=build_heads(), folders=folders).publish()


def rotate_keys() -> None:
    """Make a new key that signs heads, and wrap every person's key with a new outer key.

    What was published before stays good, and records stay as they are. If it is cut short, run it
    again. Note the new signing key's name elsewhere, as you did with the one before.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        kid, rewrapped = asyncio.run(_rotate_keys(settings, access=reached.access))
    print(f"Key {kid} signs heads. Keys of persons wrapped anew: {rewrapped.persons}.")
    if rewrapped.unreadable:
        raise KeysUnreadable(
            f"{rewrapped.unreadable} keys of persons cannot be read; the log names them"
        )


async def _rotate_keys(settings: Settings, *, access: Access) -> tuple[str, Rewrapped]:
    async with pool(access, settings=settings, name="audit") as db:
        rotation = build_rotation(db=db, folders=audit_folders(settings))
        rewrapped = await rotation.rewrap()
        return await rotation.succeed_heads_key(), rewrapped


def erase_person(
    reason: Annotated[
        str, typer.Option(help="Why, without naming the person: it is recorded.", prompt="Reason")
    ],
    person: Annotated[UUID | None, typer.Argument(help="The user's id.")] = None,
    claimed: Annotated[
        str | None,
        typer.Option(help="An email, phone or address that failed sign-ins were tried with."),
    ] = None,
) -> None:
    """Make what audit holds of a person unreadable, for good and in every backup.

    Records stay, and so do their hashes. There is no way back.
    """
    if (person is None) == (claimed is None):
        raise NobodyNamed("name a person by id, or by --claimed what they tried to sign in with")
    settings = begin()
    with any_database(settings, report=say) as reached:
        is_new = asyncio.run(
            _erase(settings, access=reached.access, person=person, claimed=claimed, reason=reason)
        )
    print("Erased." if is_new else "They were erased before.")


async def _erase(
    settings: Settings, *, access: Access, person: UUID | None, claimed: str | None, reason: str
) -> bool:
    async with pool(access, settings=settings, name="audit") as db:
        erasing = build_erasing(db=db, folders=audit_folders(settings))
        person_id = erasing.pseudonym_of(claimed or "") if person is None else person
        return await erasing.erase_person(person_id, reason=reason)
