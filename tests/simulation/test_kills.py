"""``kill -9`` under load: of Guilder, of its database, of both. Nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.platform.postgres.folder import SUPERUSER, folder_in
from guilder.platform.postgres.postmaster import postmaster_of, processes_on, wait_for_end
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.simulation.test_failpoints import verified
from tests.support.bank import person
from tests.support.clients import PATIENCE_S, Clients, Payer
from tests.support.guilder import Running, environment
from tests.support.tokens import sign, signing_key

PAYERS = 6
UNDERWAY = 60
"""So many transfers are acknowledged before the kill, and so many more after it."""


@dataclass(slots=True, kw_only=True)
class Victim:
    """A Guilder on a folder and port of its own, which is killed and started again."""

    folder: Path
    running: Running
    port: str

    @property
    def cluster(self) -> Path:
        return folder_in(self.folder).cluster

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    def start_again(self) -> None:
        self.running = started(self.folder, port=self.port)

    async def kept(self) -> dict[str, list[str]]:
        """The ids of completed transfers by their key, as the database has them."""
        url = EmbeddedPostgres(self.folder, report=print).url(SUPERUSER, database="guilder")
        connection = await asyncpg.connect(url)
        rows = await connection.fetch(
            "SELECT idempotency_key, array_agg(id::text) FROM payments.transactions "
            "WHERE type = 'transfer' AND status = 'completed' GROUP BY idempotency_key"
        )
        await connection.close()
        return {row[0]: row[1] for row in rows}


def started(folder: Path, *, port: str = "0") -> Running:
    running = Running("up", env=environment(folder, RATE_LIMIT="off", PORT=port), folder=folder)
    running.address()
    return running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def victim(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Victim]:
    folder = tmp_path_factory.mktemp("victim")
    running = Running("up", env=environment(folder, RATE_LIMIT="off"), folder=folder)
    made = Victim(folder=folder, running=running, port=running.address().rpartition(":")[2])
    try:
        yield made
        assert made.running.interrupt() == 0
    finally:
        if made.running.process.poll() is None:
            made.running.kill_everything()
        kill_database(made)


def kill_guilder(victim: Victim) -> None:
    """The database stays; the next start adopts it."""
    victim.running.kill()
    victim.start_again()


def kill_everything(victim: Victim) -> None:
    victim.running.kill_everything()
    kill_database(victim)
    victim.start_again()


def kill_the_postmaster(victim: Victim) -> None:
    """Guilder starts the database again by itself."""
    server = postmaster_of(victim.cluster)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    victim.running.wait_for("database.started_again")


def command_of(pid: int) -> bytes:
    """Nothing, if it has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def kill_a_session(victim: Victim) -> None:
    server = postmaster_of(victim.cluster)
    assert server is not None
    sessions = [pid for pid in processes_on(victim.cluster) if b"guilder_app" in command_of(pid)]
    os.kill(sessions[0], signal.SIGKILL)


def stop_the_database_at_once(victim: Victim) -> None:
    """What ``pg_ctl stop -m immediate`` does."""
    server = postmaster_of(victim.cluster)
    assert server is not None
    os.kill(server.pid, signal.SIGQUIT)
    victim.running.wait_for("database.started_again")


def kill_database(victim: Victim) -> None:
    killed = processes_on(victim.cluster) if victim.cluster.exists() else frozenset()
    for pid in killed:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in killed:
        wait_for_end(pid, timeout_s=PATIENCE_S)


async def payers(victim: Victim) -> list[Payer]:
    """People in a ring, each with a wallet and some money in it."""
    key = await signing_key(victim.folder)
    made = []
    async with httpx2.AsyncClient(base_url=victim.address, trust_env=False, timeout=30) as http:

        async def post(path: str, token: str, **body: str) -> str:
            answer = await http.post(
                f"/api/v1{path}", json=body or None, headers={"Authorization": f"Bearer {token}"}
            )
            assert answer.is_success, answer.text
            done: str = answer.json()["data"]["id"]
            return done

        for _ in range(PAYERS):
            token = sign(person(), key=key)
            wallet_id = await post("/wallets", token, currency="INR")
            await post(f"/wallets/{wallet_id}/activate", token)
            await post(
                "/transactions/deposit", token, wallet_id=wallet_id, amount="5.00", currency="INR"
            )
            made.append((token, wallet_id))
    ring = [*made[1:], made[0]]
    return [
        Payer(token=token, source=wallet_id, to=to)
        for (token, wallet_id), (_, to) in zip(made, ring, strict=True)
    ]


@pytest.mark.parametrize(
    "kill",
    [
        kill_guilder,
        kill_the_postmaster,
        kill_a_session,
        stop_the_database_at_once,
        kill_everything,
    ],
    ids=lambda kill: kill.__name__,
)
async def test_what_was_acknowledged_is_there_once_after(
    victim: Victim, kill: Callable[[Victim], None]
):
    clients = Clients(payers=await payers(victim))

    async with asyncio.TaskGroup() as group:
        group.create_task(clients.send(victim.address))
        await clients.hear(UNDERWAY)
        await asyncio.to_thread(kill, victim)
        await clients.hear(UNDERWAY)
        clients.stop()
    kept = await victim.kept()

    lost_or_doubled = {
        key: told for key, told in clients.acknowledged.items() if kept.get(key) != [told]
    }
    assert lost_or_doubled == {}
    assert set(clients.statuses) <= {201, 503}
    found = verified(environment(victim.folder), folder=victim.folder)
    assert found == []
