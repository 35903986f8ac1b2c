"""``guilder jobs``: jobs that failed as often as they are tried, and trying them again."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

import msgspec
import typer

from guilder.apps.database import any_database, pool
from guilder.apps.session import begin, say
from guilder.platform.jobs.queue import DeadJob, dead_jobs, revive
from guilder.platform.postgres.access import Access
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart


class NothingChosen(CannotStart):
    """Neither ids nor ``--all`` were given, or an id is none."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    jobs = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    jobs.callback(help="Look after background jobs that failed for good.")(_jobs)
    jobs.command("dead", short_help="Jobs that were given up.")(dead)
    jobs.command("retry", short_help="Try dead jobs again.")(retry)
    cli.add_typer(jobs, name="jobs", short_help="Dead jobs, retries.")


def _jobs() -> None:
    pass


def dead(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False
) -> None:
    """List jobs that failed as often as they are tried."""
    settings = begin(quiet=as_json)
    with any_database(settings, report=say) as reached:
        found = asyncio.run(_dead(settings, access=reached.access))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
        return
    for job in found:
        print(f"{job.id}  {job.task}  tried {job.attempts} times  {job.last_error}")
    if not found:
        print("There are no dead jobs.")


def retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of dead jobs.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every dead job.")] = False,
) -> None:
    """Try dead jobs again, as if for the first time."""
    if not ids and not every:
        raise NothingChosen("name dead jobs by their ids, or say --all")
    try:
        chosen = None if every else [UUID(text) for text in ids or ()]
    except ValueError:
        raise NothingChosen("an id looks as `guilder jobs dead` shows it") from None
    settings = begin()
    with any_database(settings, report=say) as reached:
        count = asyncio.run(_retry(settings, access=reached.access, ids=chosen))
    print(f"{count} will be tried again.")


async def _dead(settings: Settings, *, access: Access) -> list[DeadJob]:
    async with pool(access, settings=settings, name="jobs") as db:
        return await dead_jobs(db)


async def _retry(settings: Settings, *, access: Access, ids: list[UUID] | None) -> int:
    async with pool(access, settings=settings, name="jobs") as db:
        return await db.run(lambda tx: revive(tx, ids=ids))
