"""Work whose commit was not answered is done once, and answered as what was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.kernel.errors import Conflict
from guilder.ledger.service.post_transactions import PostTransactions
from guilder.platform.db import Database, Tx, notify_after_commit
from guilder.platform.identifiers import new_id
from guilder.platform.once import clear_marks, run_once
from tests.support.database import OwnDatabase
from tests.support.ledger import Teller, transfer
from tests.support.proxy import Link, linked
from tests.support.waiting import are_waiting, until

GATE = 4_711
NOTES = f"""
    CREATE TABLE notes (id uuid PRIMARY KEY);
    GRANT SELECT, INSERT ON notes TO PUBLIC;
    CREATE FUNCTION pass_the_gate() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER at_the_commit AFTER INSERT ON notes
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_the_gate();
"""

MADE = "INSERT INTO platform.attempts VALUES ($1, now() - $2::interval)"

Superuser = asyncpg.Connection


@dataclass(frozen=True, slots=True)
class Scene:
    """A link to the database, a pool behind it, and how often work was begun."""

    link: Link
    far: Database
    begun: list[UUID]

    async def note(self, tx: Tx) -> UUID:
        """Write something new, and tell."""
        id_ = new_id()
        self.begun.append(id_)
        await tx.execute("INSERT INTO notes VALUES ($1)", id_)
        notify_after_commit("notes")
        return id_


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def notes(superuser: Superuser) -> None:
    await superuser.execute(NOTES)


@pytest_asyncio.fixture
async def scene(database: OwnDatabase, superuser: Superuser) -> AsyncIterator[Scene]:
    await superuser.execute("TRUNCATE notes")
    async with linked(database.url()) as link:
        far = await Database.connect(link.url, max_connections=2)
        yield Scene(link, far, [])
        await far.close()


async def noted(superuser: Superuser) -> list[UUID]:
    return [row[0] for row in await superuser.fetch("SELECT id FROM notes")]


async def test_work_whose_commit_was_not_answered_is_done_once(scene: Scene, superuser: Superuser):
    scene.link.cuts_left = 2

    told = await run_once(scene.far, scene.note)

    assert scene.link.cuts == 2
    assert await noted(superuser) == scene.begun == [told]


async def test_work_that_was_not_committed_is_done_again(scene: Scene, superuser: Superuser):
    async def cut_first(tx: Tx) -> UUID:
        told = await scene.note(tx)
        if len(scene.begun) == 1:
            scene.link.cut_all()
        return told

    told = await run_once(scene.far, cut_first)

    assert len(scene.begun) == 2
    assert await noted(superuser) == [told] == scene.begun[1:]


async def test_a_commit_that_is_under_way_is_waited_for(
    scene: Scene, db: Database, superuser: Superuser
):
    async def one_waits() -> bool:
        return await are_waiting(db, 1)

    async def two_wait() -> bool:
        return await are_waiting(db, 2)

    async with superuser.transaction():
        await superuser.execute("SELECT pg_advisory_xact_lock($1)", GATE)
        doing = asyncio.create_task(run_once(scene.far, scene.note))
        await until(one_waits, "it is committing")
        scene.link.cut_all()
        await until(two_wait, "the repeat waits for what becomes of it")
    told = await doing

    assert await noted(superuser) == scene.begun == [told]


async def test_whoever_waits_hears_of_what_was_committed_unanswered(scene: Scene):
    heard: list[int] = []

    async def hear() -> None:
        heard.append(len(scene.begun))

    async def note_once(tx: Tx) -> None:
        if not scene.begun:
            await scene.note(tx)

    scene.link.cuts_left = 1
    with scene.far.hearing("notes", hear):
        await scene.far.run(note_once)

    assert heard == [1]


async def test_whoever_waits_hears_of_it_though_the_repeat_is_refused(scene: Scene):
    heard: list[int] = []

    async def hear() -> None:
        heard.append(len(scene.begun))

    async def note_or_refuse(tx: Tx) -> None:
        if scene.begun:
            raise Conflict
        await scene.note(tx)

    scene.link.cuts_left = 1
    with scene.far.hearing("notes", hear), pytest.raises(Conflict):
        await scene.far.run(note_or_refuse)

    assert heard == [1]


async def test_marks_are_kept_for_an_hour(scene: Scene, db: Database, superuser: Superuser):
    await superuser.execute("TRUNCATE platform.attempts")
    made = [(new_id(), timedelta(minutes=age)) for age in (70, 50)]
    await superuser.executemany(MADE, made)

    await clear_marks(db)

    kept = [row[0] for row in await db.fetch("SELECT id FROM platform.attempts")]
    assert kept == [made[1][0]]


async def test_a_posting_that_was_not_answered_is_no_replay(scene: Scene, db: Database):
    teller = Teller(db)
    anna, ben = await teller.open(funds_minor=100), await teller.open()
    posting = PostTransactions(scene.far, ledger=teller.ledger)
    scene.link.cuts_left = 1

    (posted,) = await posting.post([transfer(anna, ben, 5)])

    assert scene.link.cuts == 1
    assert not posted.is_replay
    assert await teller.balances([ben]) == [5]
