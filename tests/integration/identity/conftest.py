"""Fixtures of identity: a served town for each module, and a database that does all twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import count

import pytest
import pytest_asyncio

from guilder.platform.db import Database
from guilder.platform.keys import KeyFolder
from tests.support.browser import providers
from tests.support.database import OwnDatabase
from tests.support.stranger import Person, Stranger, a_stranger
from tests.support.town import ForgetfulDatabase, Town, founded

_SUBJECTS = count(1001)


@pytest_asyncio.fixture
async def forgetful(database: OwnDatabase) -> AsyncIterator[ForgetfulDatabase]:
    pool = await ForgetfulDatabase.connect(database.url())
    yield pool
    await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def google() -> AsyncIterator[Stranger]:
    """A provider that people sign in with elsewhere."""
    async with a_stranger() as stranger:
        yield stranger


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def city(
    db: Database, google: Stranger, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """A town that knows this provider."""
    folder = tmp_path_factory.mktemp("city")
    keys = KeyFolder(folder / "keys")
    keys.ensure()
    async with founded(db, keys, providers=providers(google, folder)) as town:
        yield town


@pytest.fixture
def anybody(google: Stranger) -> Person:
    """Somebody whom the provider knows and nobody else; they are at the browser."""
    google.person = Person(str(next(_SUBJECTS)))
    return google.person


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with founded(db, keys) as town:
        yield town
