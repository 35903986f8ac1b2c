"""A database in which jobs can write notes."""

from __future__ import annotations

import asyncpg
import pytest_asyncio

from guilder.platform.db import Database
from tests.support.database import OwnDatabase
from tests.support.notebook import lay_out


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    database: OwnDatabase, db: Database, superuser: asyncpg.Connection[asyncpg.Record]
) -> OwnDatabase:
    await lay_out(superuser)
    return database
