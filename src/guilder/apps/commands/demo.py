"""``guilder demo``: people, wallets and a few months of activity to look at."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from guilder.apps.database import any_database, pool
from guilder.apps.demo import cast
from guilder.apps.demo.filling import Filled, Filling
from guilder.apps.session import begin, say
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart


class NotInProduction(CannotStart):
    """The demonstration has people whose passwords everybody knows, and money from nowhere."""


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("demo", short_help="Fill in people and months of activity to look at.")(demo)


def demo(
    *, seed: Annotated[int, typer.Option(help="Another seed gives other payments.")] = 1
) -> None:
    """Fill in invented people, wallets and a few months of payments, in six currencies.

    Running it again changes nothing. It is refused in production.
    """
    settings = begin()
    if settings.is_production or not settings.funds_simulated:
        raise NotInProduction("the demo needs the sandbox, with simulated funding")
    with any_database(settings, report=say) as reached:
        filled = asyncio.run(_fill(settings, access=reached.access, seed=seed))
    _show(filled, console=Console())


async def _fill(settings: Settings, *, access: Access, seed: int) -> Filled:
    async with pool(access, settings=settings, name="demo") as db:
        filling = Filling(db, settings=settings, now=datetime.now(UTC), say=say)
        return await filling.fill(seed=seed)


def _show(filled: Filled, *, console: Console) -> None:
    if filled.was_there:
        console.print("The demo is there already.\n")
    else:
        refused = ", ".join(f"{code} {count}" for code, count in sorted(filled.refused.items()))
        console.print(f"\n{filled.payments:,} payments. Refused, as it happens: {refused}.\n")
    people = Table(box=None, pad_edge=False)
    for heading in ("name", "email", "lives with", ""):
        people.add_column(heading)
    for member in (*cast.PEOPLE, cast.NEWCOMER):
        people.add_row(member.name, member.email, member.place, _remark(member))
    people.add_row("Demo Admin", cast.ADMINISTRATOR, "", "administrator")
    console.print(people)
    merchants = ", ".join(f"{merchant.name} ({merchant.email})" for merchant in cast.MERCHANTS[:2])
    console.print(f"\nBusinesses sign in too: {merchants} and others.")
    console.print(f"Everybody's password: [bold]{cast.PASSWORD}[/bold]")


def _remark(member: cast.Member) -> str:
    remarks = {
        cast.PEOPLE[0].email: "a good one to begin with",
        cast.LOST.email: "lost a phone, wallet frozen",
        cast.LEAVING.email: "has closed a wallet",
        cast.NEWCOMER.email: "new, with the limits of whoever is not verified",
    }
    return remarks.get(member.email, "")
