"""Every failpoint on the way of money, in real processes: each operation is resolved by its key.

A fault that did not happen proves nothing, so it fails the test. Failpoints behind a commit (the
bus, jobs, deliveries) stand in the tests of those who deliver.
"""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from guilder.apps.compose import every_failpoint
from guilder.kernel.ids import UserId, WalletId
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.postgres.access import create_database, drop_database
from guilder.platform.postgres.folder import SUPERUSER
from tests.support.bank import Bank, opened, person
from tests.support.database import OwnDatabase
from tests.support.guilder import Running, environment, guilder
from tests.support.tokens import sign, signing_key

PAYMENTS = [name for name in every_failpoint() if name.startswith("batch.")]
MIGRATIONS = [name for name in every_failpoint() if name.startswith("migrate.")]
COMMITTED = {"batch.after_commit"}
"""Past these points the effect is there, and the answer alone was lost."""

FUNDS_MINOR = 100_000
OPERATIONS = ("deposit", "topup", "withdrawal", "transfer", "transfer without funds")
CHANGES_MINOR = {"deposit": 100, "topup": 100, "withdrawal": -100, "transfer": -100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A database that servers come and go on, and somebody with wallets there."""

    env: Mapping[str, str]
    folder: Path
    bank: Bank
    owner_id: UserId
    token: str
    source: WalletId
    to: WalletId

    @asynccontextmanager
    async def server(self, **settings: str) -> AsyncIterator[tuple[Running, httpx2.AsyncClient]]:
        """A server process of its own, and a client of the wallets' owner."""
        env = {**self.env, **{f"GUILDER_{name}": value for name, value in settings.items()}}
        with Running("serve", env=env, folder=self.folder) as serve:
            address = serve.wait_for(r"on (http://[\w.:]+)")[1]
            async with httpx2.AsyncClient(
                base_url=address,
                trust_env=False,
                timeout=30,
                headers={"Authorization": f"Bearer {self.token}"},
            ) as http:
                yield serve, http

    async def send(self, http: httpx2.AsyncClient, operation: str, key: str) -> httpx2.Response:
        kind = operation.partition(" ")[0]
        body = {"amount": "1.00", "currency": "INR"}
        if kind == "transfer":
            body |= {"from_wallet_id": str(self.source), "to_wallet_id": str(self.to)}
        else:
            body["wallet_id"] = str(self.source)
        if operation == "transfer without funds":
            body["amount"] = "5000.00"
        return await http.post(
            f"/api/v1/transactions/{kind}", json=body, headers={"Idempotency-Key": key}
        )

    def findings(self) -> list[Any]:
        """What ``guilder verify --json`` finds."""
        return verified(self.env, folder=self.folder)


def verified(env: Mapping[str, str], *, folder: Path) -> list[Any]:
    done = guilder("verify", "--json", env=env, folder=folder)
    report = json.loads(done.stdout)
    assert report["valid"] == (done.returncode == 0)
    found: list[Any] = report["findings"]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site(
    database: OwnDatabase, db: Database, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("sweep")
    owner_id = person()
    async with opened(db) as bank:
        yield Site(
            env=environment(folder, RATE_LIMIT="off", DATABASE_URL=database.url()),
            folder=folder,
            bank=bank,
            owner_id=owner_id,
            token=sign(owner_id, key=await signing_key(folder)),
            source=await bank.open(owner_id, funds_minor=FUNDS_MINOR),
            to=await bank.open(owner_id),
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sound(site: Site) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a server without faults."""
    async with site.server() as (_, http):
        yield http


def test_there_are_failpoints_before_and_after_the_commit():
    assert set(PAYMENTS) > COMMITTED
    assert MIGRATIONS


@pytest.mark.parametrize("point", PAYMENTS)
async def test_a_server_killed_there_leaves_each_operation_done_once_or_not_at_all(
    site: Site, sound: httpx2.AsyncClient, point: str
):
    for operation in OPERATIONS:
        key = new_id().hex
        before = await _balance(site)

        async with site.server(FAILPOINTS=f"{point}=kill") as (serve, http):
            with pytest.raises(httpx2.TransportError):
                await site.send(http, operation, key)
            assert serve.end() == -signal.SIGKILL
            assert f"failpoint {point}: kill" in serve.said

        await _resolve(site, sound, operation=operation, key=key, point=point, before=before)
    assert site.findings() == []


@pytest.mark.parametrize("point", PAYMENTS)
async def test_an_error_there_leaves_each_operation_done_once_or_not_at_all(
    site: Site, sound: httpx2.AsyncClient, point: str
):
    async with site.server(FAILPOINTS=f"{point}=raise") as (serve, http):
        for operation in OPERATIONS:
            key = new_id().hex
            before = await _balance(site)

            answer = await site.send(http, operation, key)
            serve.wait_for(f"failpoint {point}: raise")

            assert answer.status_code == 500
            assert "failpoint" not in answer.text.lower()
            await _resolve(site, sound, operation=operation, key=key, point=point, before=before)
    assert site.findings() == []


@pytest.mark.parametrize("action", ["kill", "raise"])
@pytest.mark.parametrize("point", MIGRATIONS)
async def test_a_migration_that_met_a_fault_there_is_done_by_the_next(
    database: OwnDatabase, tmp_path: Path, point: str, action: str
):
    name = f"{database.name}_migrated_{action}"
    await create_database(database.server, database=name)
    fresh = OwnDatabase(server=database.server, name=name)
    env = environment(
        tmp_path, DATABASE_URL=fresh.url(), MIGRATION_DATABASE_URL=fresh.url(SUPERUSER)
    )

    broken = guilder(
        "migrate", env={**env, "GUILDER_FAILPOINTS": f"{point}={action}"}, folder=tmp_path
    )
    mended = guilder("migrate", env=env, folder=tmp_path)
    found = verified(env, folder=tmp_path)
    await drop_database(database.server, database=name)

    assert broken.returncode != 0
    assert f"failpoint {point}: {action}" in broken.stderr
    assert mended.returncode == 0, mended.stderr
    assert found == []


async def _resolve(
    site: Site, http: httpx2.AsyncClient, *, operation: str, key: str, point: str, before: int
) -> None:
    """Repeat the operation with its key twice: it is done once, and told as it was done."""
    first = await site.send(http, operation, key)
    second = await site.send(http, operation, key)

    assert ("idempotency-replayed" in first.headers) == (point in COMMITTED)
    assert second.headers["idempotency-replayed"] == "true"
    if operation == "transfer without funds":
        assert {first.status_code, second.status_code} == {412}
        assert first.json()["error"]["details"] == second.json()["error"]["details"]
    else:
        assert {first.status_code, second.status_code} == {201}
        assert first.json()["data"] == second.json()["data"]
    assert await _balance(site) == before + CHANGES_MINOR.get(operation, 0)


async def _balance(site: Site) -> int:
    return (await site.bank.balances((site.owner_id, site.source)))[0]
