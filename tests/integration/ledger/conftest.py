"""What tests of the ledger ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from guilder.platform.db import Database
from tests.support.counting_house import CountingHouse, opened
from tests.support.ledger import Teller


@pytest.fixture
def teller(db: Database) -> Teller:
    return Teller(db)


@pytest_asyncio.fixture
async def house(db: Database) -> AsyncIterator[CountingHouse]:
    async with opened(db) as house:
        yield house
