"""Readiness is asked for by anybody, often: the database is asked seldom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from guilder.apps.readiness import Readiness
from guilder.platform.db import Database
from tests.support.database import OwnDatabase


class AskedDatabase(Database):
    """A database that counts how often it was asked whether it answers, and can be away."""

    times = 0
    is_away = False

    async def fetchval(self, query: str, *args: Any) -> Any:
        self.times += query == "SELECT 1"
        if self.is_away:
            raise ConnectionError("nobody answers")
        return await super().fetchval(query, *args)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def asked(database: OwnDatabase) -> AsyncIterator[AskedDatabase]:
    db = await AskedDatabase.connect(database.url())
    assert isinstance(db, AskedDatabase)
    yield db
    await db.close()


async def test_whoever_asks_at_once_gets_one_answer_and_a_yes_holds_for_a_moment(
    asked: AskedDatabase,
) -> None:
    clock = Clock()
    ready = Readiness(asked, accept_no_checksums=False, monotonic=clock)

    answers = await asyncio.gather(*(ready() for _ in range(50)))
    clock.now += 0.9
    await ready()
    meanwhile = asked.times
    clock.now += 0.2
    await ready()

    yes = {"database": True, "migrations": True, "durability": True, "keys": True}
    assert answers == [yes] * 50
    assert (meanwhile, asked.times) == (1, 2)


async def test_a_no_does_not_hold(asked: AskedDatabase) -> None:
    ready = Readiness(asked, accept_no_checksums=False, monotonic=Clock())
    asked.is_away = True
    before = await ready()
    asked.is_away = False

    after = await ready()

    assert (before["database"], after["database"]) == (False, True)
