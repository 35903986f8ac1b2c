"""A post office for each test, Anna with her wallet and a receiver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from tests.support.bank import person
from tests.support.post_office import PostOffice
from tests.support.receivers import Receiver, receiving
from tests.support.tampering import Connection

NewOffice = Callable[..., PostOffice]


@pytest_asyncio.fixture(autouse=True)
async def nothing_left(superuser: Connection) -> None:
    """What one test leaves unsent, the next does not send."""
    await superuser.execute(
        "TRUNCATE webhooks.endpoints, webhooks.deliveries, webhooks.attempts, webhooks.events, "
        "webhooks.unrouted, webhooks.replays"
    )


@pytest.fixture
def new_office(db: Database, tmp_path: Path) -> NewOffice:
    """Makes offices that share one key folder."""

    def make(**settings: Any) -> PostOffice:
        return PostOffice(db, keys=tmp_path / "keys", **settings)

    return make


@pytest_asyncio.fixture
async def office(new_office: NewOffice) -> AsyncIterator[PostOffice]:
    """One in which everything adds up once the test is done."""
    made = new_office()
    yield made
    assert await made.findings() == []


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


@pytest.fixture
def anna() -> UserId:
    return person()


@pytest.fixture
def ben() -> UserId:
    return person()
