"""Writes of several contexts are one statement: each has its parameters, and all stand or fall."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from guilder.kernel.invariant import InvariantViolation
from guilder.platform.db import AlreadyThere, Database, Tx
from guilder.platform.db_writes import Write, write_together
from guilder.platform.postgres.folder import SUPERUSER
from tests.support.database import OwnDatabase


@pytest.fixture
async def shelf(database: OwnDatabase) -> AsyncIterator[Database]:
    pool = await Database.connect(database.url(SUPERUSER), max_connections=1)
    await pool.fetch("CREATE TABLE books (id int CONSTRAINT one_of_each PRIMARY KEY, name text)")
    await pool.fetch("CREATE TABLE notes (id int PRIMARY KEY, said text)")
    yield pool
    await pool.fetch("DROP TABLE books, notes")
    await pool.close()


def book(id_: int, name: str, *, races: frozenset[str] = frozenset()) -> Write:
    parts = (
        ("lent", "SELECT $1::int AS id, $2::text AS name"),
        ("shelved", "INSERT INTO books SELECT id, name FROM lent"),
    )
    return Write(parts=parts, args=(id_, name), races=races)


def note(id_: int, *said: str) -> Write:
    words = " || ".join(f"${number}::text" for number in range(2, len(said) + 2))
    parts = (("noted", f"INSERT INTO notes VALUES ($1::int, {words} || $1::int)"),)
    return Write(parts=parts, args=(id_, *said))


async def test_each_write_has_parameters_of_its_own(shelf: Database):
    await shelf.run(lambda tx: write_together(tx, [note(7, *"read twice "), book(1, "Emma")]))
    await shelf.run(lambda tx: write_together(tx, [book(2, "Persuasion"), note(8, *"read twice ")]))

    assert [tuple(row) for row in await shelf.fetch("SELECT * FROM books ORDER BY id")] == [
        (1, "Emma"),
        (2, "Persuasion"),
    ]
    assert [tuple(row) for row in await shelf.fetch("SELECT * FROM notes ORDER BY id")] == [
        (7, "read twice 7"),
        (8, "read twice 8"),
    ]


async def test_one_that_cannot_be_done_undoes_the_others(shelf: Database):
    await shelf.run(lambda tx: write_together(tx, [book(1, "Emma")]))

    again = book(1, "Emma", races=frozenset({"elsewhere.one_of_each"}))
    with pytest.raises(AlreadyThere):
        await shelf.run(lambda tx: write_together(tx, [note(7, "read "), again]))

    assert await shelf.fetchval("SELECT count(*) FROM notes") == 0


async def test_a_race_that_was_lost_is_run_again(shelf: Database):
    await shelf.run(lambda tx: write_together(tx, [book(1, "Emma")]))
    tried: list[int] = []

    async def look_and_write(tx: Tx) -> None:
        tried.append(await tx.fetchval("SELECT max(id) FROM books"))
        novel = book(len(tried), "Persuasion", races=frozenset({"public.one_of_each"}))
        await write_together(tx, [novel, note(7, "read ")])

    await shelf.run(look_and_write)

    assert tried == [1, 1]
    assert await shelf.fetchval("SELECT name FROM books WHERE id = 2") == "Persuasion"
    assert await shelf.fetchval("SELECT count(*) FROM notes") == 1


async def test_two_parts_of_one_name_are_a_bug(shelf: Database):
    with pytest.raises(InvariantViolation, match="different names"):
        await shelf.run(lambda tx: write_together(tx, [note(7, "read "), note(8, "read ")]))


async def test_whoever_waits_is_woken_once_it_is_committed(shelf: Database):
    heard: list[int] = []

    async def hear() -> None:
        heard.append(await shelf.fetchval("SELECT count(*) FROM notes"))

    waking = replace(note(7, "read "), wakes="notes")
    with shelf.hearing("notes", hear):
        await shelf.run(lambda tx: write_together(tx, [waking, book(1, "Emma")]))
        with pytest.raises(AlreadyThere):
            await shelf.run(lambda tx: write_together(tx, [waking]))

    assert heard == [1]
