"""``guilder jobs``: jobs that failed as often as they are tried, and what to do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
import typer

from guilder.apps.database import any_database, pool
from guilder.apps.session import as_operator, begin, say
from guilder.platform.db import Database
from guilder.platform.jobs.queue import Revived, dead_jobs, discard, revive
from guilder.platform.startup import CannotStart

Result = TypeVar("Result")

_IDS: Final = typer.Argument(help="Ids of dead jobs.")
_ALL: Final = typer.Option("--all", help="Every dead job.")


class NothingChosen(CannotStart):
    """Neither ids nor ``--all`` were given, or an id is none."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    jobs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    jobs.callback(help="Look after background jobs that failed for good.")(_jobs)
    jobs.command("dead", short_help="Jobs that were given up.")(dead)
    jobs.command("retry", short_help="Try dead jobs again.")(retry)
    jobs.command("discard", short_help="Give dead jobs up for good.")(discard_dead)
    cli.add_typer(jobs, name="jobs", short_help="Dead jobs, retries.")


def _jobs() -> None:
    pass


def dead(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """List jobs that failed as often as they are tried."""
    found = _asked(dead_jobs, quiet=as_json)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for job in found:
        print(f"{job.id}  {job.task}  tried {job.attempts} times  {job.last_error}")
    if not found:
        print("There are no dead jobs.")


def retry(
    ids: Annotated[list[str] | None, _IDS] = None,
    *,
    every: Annotated[bool, _ALL] = False,
) -> None:
    """Try dead jobs again, as if for the first time.

    Of those with one key only one can wait: others stay dead while it does, and are tried later.
    """
    chosen = _chosen(ids, every=every)

    async def decide(db: Database) -> Revived:
        return await db.run(lambda tx: revive(tx, ids=chosen))

    done = _asked(decide)
    print(f"{done.count} will be tried again.")
    if done.still_dead:
        print(f"{done.still_dead} stay dead: another job with the same key comes first.")


def discard_dead(
    ids: Annotated[list[str] | None, _IDS] = None,
    *,
    every: Annotated[bool, _ALL] = False,
) -> None:
    """Give dead jobs up: they are never done."""
    chosen = _chosen(ids, every=every)

    async def decide(db: Database) -> int:
        return await db.run(lambda tx: discard(tx, ids=chosen))

    print(f"{_asked(decide)} will never be done.")


def _chosen(ids: list[str] | None, *, every: bool) -> list[UUID] | None:
    if not ids and not every:
        raise NothingChosen("name dead jobs by their ids, or say --all")
    try:
        return None if every else [UUID(text) for text in ids or ()]
    except ValueError:
        raise NothingChosen("an id looks as `guilder jobs dead` shows it") from None


def _asked(question: Callable[[Database], Awaitable[Result]], *, quiet: bool = False) -> Result:
    settings = begin(quiet=quiet)

    async def ask() -> Result:
        async with pool(reached.access, settings=settings, name="jobs") as db:
            return await question(db)

    with any_database(settings, report=say) as reached, as_operator():
        return asyncio.run(ask())
