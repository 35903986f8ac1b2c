"""Fixtures of identity: a served town for each module, and a database that does all twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from guilder.platform.db import Database
from guilder.platform.keys import KeyFolder
from tests.support.database import OwnDatabase
from tests.support.town import ForgetfulDatabase, Town, founded


@pytest_asyncio.fixture
async def forgetful(database: OwnDatabase) -> AsyncIterator[ForgetfulDatabase]:
    pool = await ForgetfulDatabase.connect(database.url())
    yield pool
    await pool.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with founded(db, keys) as town:
        yield town
