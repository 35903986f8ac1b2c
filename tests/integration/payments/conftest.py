"""A bank for each test module, and others on pools of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from guilder.platform.db import Database, Limits
from tests.support.bank import Bank, opened
from tests.support.database import OwnDatabase

NewBank = Callable[..., Awaitable[Bank]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bank(db: Database) -> AsyncIterator[Bank]:
    async with opened(db) as made:
        yield made


@pytest_asyncio.fixture
async def new_bank(database: OwnDatabase) -> AsyncIterator[NewBank]:
    """Makes banks on pools of their own, as other server processes have them."""
    async with AsyncExitStack() as stack:

        async def make(
            *, connections: int = 4, time_limits: Limits | None = None, **settings: Any
        ) -> Bank:
            pool = await database.connect(
                max_connections=connections, limits=time_limits, plans_once=True
            )
            stack.push_async_callback(pool.close)
            return await stack.enter_async_context(opened(pool, **settings))

        yield make
