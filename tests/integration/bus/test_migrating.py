"""The bus comes to a database that is in use: events and positions of the release before stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import asyncpg
import pytest

from guilder.platform.bus import Bus
from guilder.platform.db import Database
from guilder.platform.postgres.access import create_database, drop_database, embedded_access
from guilder.platform.postgres.migrator import SOURCE, migrate
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.database import OwnDatabase
from tests.support.notebook import TYPE, drained, lay_out, notes, publish, taking_notes

# as the release before wrote and read
OLD_EVENTS = """
    INSERT INTO platform.outbox (id, type, key, data)
    SELECT gen_random_uuid(), $1, 'wallet-' || n % 20, jsonb_build_object('number', n)
    FROM generate_series(1, 1000) AS n
"""
OLD_JOIN = "INSERT INTO platform.consumer_offsets (group_name) VALUES ($1) ON CONFLICT DO NOTHING"
OLD_POSITION = """
    INSERT INTO platform.consumer_offsets (group_name, transaction, position)
    SELECT $1, transaction, position FROM platform.outbox
    ORDER BY transaction, position OFFSET 599 LIMIT 1
"""


@pytest.fixture
def release_before(tmp_path: Path) -> Path:
    """The migrations of the platform as far as that release had them."""
    folder = tmp_path / "platform" / "migrations"
    folder.mkdir(parents=True)
    shutil.copy(SOURCE / "platform" / "migrations" / "v0001_outbox.py", folder)
    return tmp_path


async def test_a_group_goes_on_where_it_was_and_old_readers_hear_nothing(
    postgres: EmbeddedPostgres, release_before: Path
):
    await create_database(postgres, database="moving")
    access = embedded_access(postgres, database="moving")
    database = OwnDatabase(server=postgres, name="moving")
    await migrate(access.target, report=print, source=release_before)
    superuser = await asyncpg.connect(database.url("postgres"))
    await superuser.execute(OLD_EVENTS, TYPE)
    await superuser.execute(OLD_POSITION, "moved")

    await migrate(access.target, report=print)
    await lay_out(superuser)
    db = await Database.connect(database.url())
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.fetch(OLD_JOIN, "late")
    await publish(db, "wallet-7", 1001)
    subscription = taking_notes("moved")
    await drained(Bus(db, [subscription]), subscription)
    heard = await notes(db, "moved")
    await db.close()
    await superuser.close()
    await drop_database(postgres, database="moving")

    assert sorted(n for numbers in heard.values() for n in numbers) == list(range(601, 1002))
    assert all(numbers == sorted(numbers) for numbers in heard.values())
