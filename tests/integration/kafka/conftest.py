"""Brokers to test with, and a database in which listeners can write notes.

GUILDER_TEST_KAFKA names the bootstrap servers of a real Kafka. Without it the brokers are those
that librdkafka has for such tests: its protocol, in memory, in this process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from tests.support.database import OwnDatabase
from tests.support.notebook import lay_out

confluent_kafka = pytest.importorskip("confluent_kafka", reason="the extra kafka is not installed")


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """Where the brokers are."""
    named = os.environ.get("GUILDER_TEST_KAFKA")
    if named:
        yield named
        return
    cluster = confluent_kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 3})
    found = cluster.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    cluster.flush(0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(
    database: OwnDatabase, db: Database, superuser: asyncpg.Connection[asyncpg.Record]
) -> OwnDatabase:
    await lay_out(superuser)
    return database
