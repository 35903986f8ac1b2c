"""``guilder people``: erase somebody for good."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer

from guilder.apps.compose import erasure_terms, key_folder, outer_keys
from guilder.apps.database import any_database, pool
from guilder.apps.session import begin, say
from guilder.identity.module import build_erasures
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import UserId
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart


class CannotErase(CannotStart):
    """Somebody has to be kept, or there never was anybody of this id."""


def register(cli: typer.Typer) -> None:
    """Add the command."""
    people = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    people.callback(help="Erase somebody for good.")(_people)
    people.command("erase", short_help="Forget a user, if money and law allow.")(erase)
    cli.add_typer(people, name="people", short_help="Erase somebody for good.")


def _people() -> None:
    pass


def erase(
    user: Annotated[UUID, typer.Argument(help="The user's id.")],
    reason: Annotated[
        str, typer.Option(help="Why, without naming the person: it is recorded.", prompt="Reason")
    ],
) -> None:
    """Close what a user holds and destroy the key of their data, in every backup. No way back.

    It is refused while there is money in a wallet, money is held, a legal hold is on them, they are
    staff, or their last payment is younger than GUILDER_PERSONAL_RETENTION_DAYS.
    """
    settings = begin()
    with any_database(settings, report=say) as reached:
        try:
            erased_at = asyncio.run(
                _erase(settings, access=reached.access, user_id=UserId(user), reason=reason)
            )
        except Refusal as refusal:
            details = ", ".join(f"{name} {value}" for name, value in refusal.details.items())
            raise CannotErase(refusal.message + (f" ({details})" if details else "")) from None
    print(f"{user} was erased at {erased_at:%Y-%m-%d %H:%M:%S} UTC.")


async def _erase(settings: Settings, *, access: Access, user_id: UserId, reason: str) -> datetime:
    async with pool(access, settings=settings, name="people") as db:
        erasures = build_erasures(
            db=db,
            keys=key_folder(settings),
            contacts=outer_keys(settings),
            terms=erasure_terms(settings, db=db),
        )
        return await erasures.erase(user_id, reason=reason, by=None)
