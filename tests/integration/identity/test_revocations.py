"""What is revoked reaches every process: at once its own, soon every other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from guilder.identity.module import build_revocations
from guilder.identity.store import revocations
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.standing import CHANNEL, KEPT_S, Kind, Standing
from tests.support.database import OwnDatabase
from tests.support.waiting import until

Superuser = asyncpg.Connection


@asynccontextmanager
async def another_process(database: OwnDatabase) -> AsyncIterator[tuple[Database, Standing]]:
    """What another process has: a pool of its own, and a copy that feeds itself."""
    async with AsyncExitStack() as stack:
        pool = await database.connect()
        stack.push_async_callback(pool.close)
        standing = Standing(build_revocations(pool))
        await stack.enter_async_context(standing.running())
        yield pool, standing


def ended(standing: Standing, session_id: UUID) -> Callable[[], Awaitable[bool]]:
    async def is_ended() -> bool:
        return standing.refuses((session_id,), people=())

    return is_ended


async def end(db: Database, session_id: UUID) -> None:
    await db.run(lambda tx: revocations.end_sessions(tx, [SessionId(session_id)]))


async def test_an_ended_session_is_refused_here_before_the_answer_and_soon_elsewhere(
    database: OwnDatabase,
) -> None:
    session_id = new_id()
    async with another_process(database) as (here, near), another_process(database) as (_, far):
        await end(here, session_id)
        at_once = await ended(near, session_id)()
        await until(ended(far, session_id), "the other process has heard")

    assert at_once


async def test_what_commits_late_is_not_passed_over(database: OwnDatabase) -> None:
    slow, quick = new_id(), new_id()
    async with another_process(database) as (db, standing):
        async with db.transaction() as tx:
            await revocations.end_sessions(tx, [SessionId(slow)])
            await end(db, quick)
            await standing.refresh()
            early = await ended(standing, slow)(), await ended(standing, quick)()
        await standing.refresh()

        assert early == (False, True)
        assert await ended(standing, slow)()


async def test_what_is_rolled_back_was_never_revoked(database: OwnDatabase) -> None:
    session_id = new_id()

    async def give_up(tx: Tx) -> None:
        await revocations.end_sessions(tx, [SessionId(session_id)])
        raise LookupError

    async with another_process(database) as (db, standing):
        with pytest.raises(LookupError):
            await db.run(give_up)
        await standing.refresh()

        assert not await ended(standing, session_id)()


async def test_a_process_that_lost_its_connections_learns_what_it_missed(
    database: OwnDatabase, db: Database, superuser: Superuser
) -> None:
    session_id = new_id()
    async with another_process(database) as (_, standing):
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query ILIKE 'listen%' || $1 || '%'",
            CHANNEL,
        )
        await end(db, session_id)
        await until(ended(standing, session_id), "what was missed is known")

        assert standing.is_fed


async def test_a_process_that_starts_later_knows_what_was_revoked_before(
    database: OwnDatabase, db: Database
) -> None:
    session_id, token_id, anna, ben = new_id(), new_id(), UserId(new_id()), UserId(new_id())
    await end(db, session_id)
    await db.run(lambda tx: revocations.end_tokens(tx, [token_id]))
    await db.run(lambda tx: revocations.freeze(tx, anna))
    await db.run(lambda tx: revocations.freeze(tx, ben))
    await db.run(lambda tx: revocations.unfreeze(tx, ben))

    async with another_process(database) as (_, standing):
        assert standing.refuses((session_id,), people=())
        assert standing.refuses((token_id,), people=())
        assert standing.refuses((), people=(anna,))
        assert not standing.refuses((), people=(ben,))


async def test_the_last_change_of_roles_counts_and_its_absence_takes_them_all(
    database: OwnDatabase, db: Database
) -> None:
    nobody = UserId(new_id())
    await db.run(lambda tx: revocations.roles_changed(tx, nobody))

    async with another_process(database) as (_, standing):
        assert standing.roles_of(nobody, told=frozenset({"admin"})) == frozenset()


async def test_nothing_is_asked_of_the_database_to_judge_a_token(database: OwnDatabase) -> None:
    session_id = new_id()
    db = await database.connect()
    standing = Standing(build_revocations(db))
    await end(db, session_id)
    await standing.refresh()

    await db.close()

    assert standing.is_fed
    assert standing.refuses((session_id,), people=())


async def test_two_copies_on_one_pool_both_hear_and_one_may_leave(database: OwnDatabase) -> None:
    first, second = new_id(), new_id()
    async with another_process(database) as (db, stays):
        leaves = Standing(build_revocations(db))
        async with leaves.running():
            await end(db, first)
            both = await ended(stays, first)(), await ended(leaves, first)()
        await end(db, second)

        assert both == (True, True)
        assert await ended(stays, second)()


async def test_what_no_token_can_be_older_than_is_purged(
    database: OwnDatabase, superuser: Superuser
) -> None:
    old, young = new_id(), new_id()
    async with another_process(database) as (db, _):
        await end(db, old)
        await end(db, young)
        await superuser.execute(
            "UPDATE identity.revocations SET made_at = made_at - make_interval(secs => $2) "
            "WHERE subject_id = $1",
            old,
            KEPT_S + 1,
        )

        unread = await build_revocations(db).read(after=0)
        await build_revocations(db).purge()

        left = await superuser.fetch("SELECT subject_id FROM identity.revocations")
    assert old not in {one.subject_id for one in unread.revocations}
    assert young in {one.subject_id for one in unread.revocations}
    assert {row[0] for row in left}.isdisjoint({old})
    assert {row[0] for row in left} >= {young}


async def test_the_application_adds_to_revocations_and_rewrites_none(db: Database) -> None:
    may = await db.fetchrow(
        "SELECT has_table_privilege('identity.revocations', 'INSERT') AS adds, "
        "has_any_column_privilege('identity.revocations', 'UPDATE') AS rewrites, "
        "has_table_privilege('identity.revocations', 'TRUNCATE') AS empties"
    )

    assert may is not None
    assert dict(may) == {"adds": True, "rewrites": False, "empties": False}


@pytest.mark.parametrize("kind", Kind)
async def test_every_kind_of_revocation_can_be_stored(superuser: Superuser, kind: Kind) -> None:
    subject_id = None if kind is Kind.DEFINITIONS_CHANGED else new_id()
    roles = ["support"] if kind is Kind.ROLES_CHANGED else None

    position = await superuser.fetchval(
        "INSERT INTO identity.revocations (kind, subject_id, roles) VALUES ($1, $2, $3) "
        "RETURNING position",
        kind.value,
        subject_id,
        roles,
    )

    assert position > 0
