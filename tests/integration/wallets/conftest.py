"""A bank for each test module; its wallets are what is tested here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from guilder.platform.db import Database
from tests.support.bank import Bank, opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bank(db: Database) -> AsyncIterator[Bank]:
    async with opened(db) as made:
        yield made
        assert await made.verify() == []
