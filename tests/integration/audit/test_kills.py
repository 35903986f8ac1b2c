"""Guilder is killed wherever audit could lose or double something; afterwards all is there once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx2
import pytest

from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.customer import Customer
from tests.support.guilder import Running, environment, guilder
from tests.support.waiting import until

POINTS = {
    "audit.before_commit": "hit:2:kill",
    "bus.before_commit": "hit:5:kill",
    "bus.after_commit": "hit:3:kill",
    "audit.before_publish": "hit:2:kill",
}


async def value_of(folder: Path, query: str) -> object:
    server = EmbeddedPostgres(folder, report=print)
    connection = await asyncpg.connect(server.url(SUPERUSER, database="guilder"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def wait_until_all_is_recorded(folder: Path) -> None:
    async def recorded() -> bool:
        missing = await value_of(
            folder,
            "SELECT count(*) FROM platform.outbox o WHERE NOT EXISTS "
            "(SELECT FROM audit.records r WHERE r.event_id = o.id)",
        )
        return missing == 0

    asyncio.run(until(recorded, "every event has a record"))


def live(address: str) -> None:
    """Anna signs up, is refused something, and gets a wallet with money."""
    with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
        anna = Customer(http, "Anna")
        http.get("/api/v1/audit", headers=anna.authorization)
        anna.open_wallet(funds="10.00")


@pytest.mark.parametrize("point", POINTS)
def test_killed_there_guilder_records_everything_once_when_it_is_back(tmp_path: Path, point: str):
    settings = {"RATE_LIMIT": "off", "AUDIT_PUBLISH_EVERY_S": "1"}
    doomed = environment(tmp_path, FAILPOINTS=f"{point}={POINTS[point]}", **settings)
    with Running("up", env=doomed, folder=tmp_path) as first:
        address = first.address()
        with suppress(httpx2.TransportError):  # it may be killed under a request
            live(address)
        first.die_at(point)

    with Running("up", env=environment(tmp_path, **settings), folder=tmp_path) as second:
        live(second.address())
        wait_until_all_is_recorded(tmp_path)
        doubled = asyncio.run(
            value_of(
                tmp_path,
                "SELECT count(*) FROM (SELECT event_id FROM audit.records GROUP BY 1 "
                "HAVING count(*) > 1) AS doubled",
            )
        )
        verified = guilder("verify", env=environment(tmp_path), folder=tmp_path)
        assert second.interrupt() == 0

    assert doubled == 0
    assert verified.returncode == 0, verified.stdout
