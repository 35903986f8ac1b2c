"""``guilder events``: how far groups have come, and what to do with events they gave up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final, TypeVar
from uuid import UUID

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guilder.apps.database import any_database, pool
from guilder.apps.session import as_operator, begin, say
from guilder.kernel.ids import EventId
from guilder.platform.bus.lag import Lag, forget_group, lags
from guilder.platform.bus.parking import DeadLetter, dead_letters, discard, replay
from guilder.platform.db import Database, Tx
from guilder.platform.startup import CannotStart

Result = TypeVar("Result")
Choose = Callable[..., Awaitable[int]]

_JSON: Final = typer.Option("--json", help="Print one JSON document.")
_GROUP: Final = typer.Option(help="Only dead letters of this group.")
_IDS: Final = typer.Argument(help="Ids of dead letters, as `guilder events dead` shows them.")
_ALL: Final = typer.Option("--all", help="Every dead letter, or every one of the group.")


class NothingChosen(CannotStart):
    """Neither ids nor ``--all`` were given."""


class WrongId(CannotStart):
    """What was given as an id is none."""


class UnknownGroup(CannotStart):
    """There is no group of that name."""


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    events = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    events.callback(help="See who is behind, and look after events that could not be heard.")(
        _events
    )
    events.command("groups", short_help="How far each group is behind.")(groups)
    events.command("dead", short_help="Events that were given up.")(dead)
    events.command("replay", short_help="Try dead letters again.")(replay_dead)
    events.command("discard", short_help="Give dead letters up for good.")(discard_dead)
    events.command("forget", short_help="Forget a group that is fed no more.")(forget)
    cli.add_typer(events, name="events", short_help="Groups, dead letters, replays.")


def _events() -> None:
    pass


def groups(*, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show what each group has not heard yet, and how old the oldest of that is."""
    found = _asked(lags, quiet=as_json)
    if as_json:
        _print_json(found)
    else:
        _show_groups(found)


def dead(
    *,
    group: Annotated[str | None, _GROUP] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List events that a group failed to hear as often as it is tried. Their keys wait."""

    async def ask(db: Database) -> list[DeadLetter]:
        async with db.snapshot() as tx:
            return await dead_letters(tx, group=group)

    found = _asked(ask, quiet=as_json)
    if as_json:
        _print_json(found)
    else:
        _show_dead(found)


def replay_dead(
    ids: Annotated[list[str] | None, _IDS] = None,
    *,
    group: Annotated[str | None, _GROUP] = None,
    every: Annotated[bool, _ALL] = False,
) -> None:
    """Try dead letters again, as if for the first time; what waits behind them follows."""
    count = _decide(replay, ids=ids, group=group, every=every)
    print(f"{count} will be tried again.")


def discard_dead(
    ids: Annotated[list[str] | None, _IDS] = None,
    *,
    group: Annotated[str | None, _GROUP] = None,
    every: Annotated[bool, _ALL] = False,
) -> None:
    """Give dead letters up: they never have their effect. What waits behind them goes on."""
    count = _decide(discard, ids=ids, group=group, every=every)
    print(f"{count} will never be heard.")


def forget(group: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Forget how far a group has come, so that events are no longer kept for it."""
    if not _asked(lambda db: forget_group(db, group), quiet=False):
        raise UnknownGroup(f"there is no group {group}; see `guilder events groups`")
    print(f"{group} is forgotten.")


def _decide(choose: Choose, *, ids: list[str] | None, group: str | None, every: bool) -> int:
    if not ids and not every:
        raise NothingChosen("name dead letters by their ids, or say --all")
    chosen = None if every else [_event_id(text) for text in ids or ()]

    async def decide(db: Database) -> int:
        async def work(tx: Tx) -> int:
            return await choose(tx, group=group, ids=chosen)

        return await db.run(work)

    return _asked(decide, quiet=False)


def _event_id(text: str) -> EventId:
    try:
        return EventId(UUID(text))
    except ValueError:
        raise WrongId(f"{text} is no id of an event") from None


def _asked(question: Callable[[Database], Awaitable[Result]], *, quiet: bool) -> Result:
    settings = begin(quiet=quiet)

    async def ask() -> Result:
        async with pool(reached.access, settings=settings, name="events") as db:
            return await question(db)

    with any_database(settings, report=say) as reached, as_operator():
        return asyncio.run(ask())


def _print_json(found: Sequence[Lag] | Sequence[DeadLetter]) -> None:
    print(msgspec.json.format(msgspec.json.encode(found)).decode())


def _show_groups(found: Sequence[Lag]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("group")
    table.add_column("fed by")
    for heading in ("not heard", "oldest, s", "parked", "dead"):
        table.add_column(heading, justify="right")
    for lag in found:
        numbers = (f"{lag.events:,}", f"{lag.age_s:.1f}", f"{lag.waiting:,}", f"{lag.dead:,}")
        table.add_row(Text(lag.group), lag.feed, *numbers)
    Console().print(table)


def _show_dead(found: Sequence[DeadLetter]) -> None:
    if not found:
        print("There are no dead letters.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "group", "type", "key", "tried", "behind", "why"):
        table.add_column(heading, overflow="fold")
    for letter in found:
        cells = (letter.id, letter.group, letter.type, letter.key, letter.attempts, letter.behind)
        table.add_row(*(Text(str(cell)) for cell in cells), Text(letter.last_error))
    Console().print(table)
