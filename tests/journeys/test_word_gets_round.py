"""Anna pays Ben and word gets round: his stream, his mail, his server and audit all have it, once.

Once as it should go, and once for each place on the way where Guilder can die; each time it dies
the database is made to crash too, and both are started again without faults.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from guilder.apps.compose import every_failpoint
from guilder.platform.bus.lag import lags
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import COMPLIANCE
from guilder.platform.postgres.folder import SUPERUSER, folder_in
from guilder.platform.postgres.postmaster import postmaster_of, processes_on, wait_for_end
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.customer import Customer, data
from tests.support.guilder import Running, environment, guilder
from tests.support.receivers import Received, Receiver, receiving
from tests.support.tokens import sign, signing_key
from tests.support.waiting import PATIENCE_S, until

ELSEWHERE = {
    "audit.before_publish": "states the heads of chains, some time later",
    "batch.before_commit": "nothing is paid yet",
    "batch.claimed": "nothing is paid yet",
    "batch.locked": "nothing is paid yet",
    "bus.parked": "only what a group fails on comes here",
    "identity.after_rotated_batch": "nobody's keys are changed",
    "identity.before_erased": "nobody is erased",
    "jobs.after_commit": "no job is enqueued for a payment",
    "jobs.before_commit": "no job is enqueued for a payment",
    "jobs.claimed": "no job is enqueued for a payment",
    "ledger.after_chunk": "nothing is posted by the ledger's own routes",
    "ledger.after_commit": "nothing is posted by the ledger's own routes",
    "ledger.before_commit": "nothing is posted by the ledger's own routes",
    "ledger.changed": "nothing is posted by the ledger's own routes",
    "migrate.before_commit": "done before anything is paid",
    "outbox.after_send": "there is no Kafka here",
    "outbox.before_send": "there is no Kafka here",
}
"""Failpoints that a payment does not pass on its way to those who hear of it, and why."""
ON_THE_WAY = [name for name in every_failpoint() if name not in ELSEWHERE]
SENT_TWICE = "webhook.after_send"
"""Whoever dies there has sent what nobody knows of."""
AMOUNT = "12.50"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What Anna sent, under one key; ``request_id`` is that of each time she asked."""

    id: str
    request_id: str


@dataclass(kw_only=True)
class Town:
    """Anna, Ben and an officer of compliance; their Guilder comes and goes."""

    folder: Path
    env: dict[str, str]
    inbox: Receiver
    officer: dict[str, str]
    anna: Customer
    ben: Customer
    wallets: tuple[str, str]
    endpoint: dict[str, Any]
    payments: list[Payment] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    """What Ben's streams showed him of payments."""
    position: int = 0
    """The last that he saw on a stream."""

    @asynccontextmanager
    async def up(self, **more: str) -> AsyncIterator[Running]:
        """Guilder, until it is told to stop; unless it is dead by then."""
        with Running("up", env={**self.env, **more}, folder=self.folder) as running:
            address = await asyncio.to_thread(running.address)
            with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
                self.anna.http = self.ben.http = http
                yield running
                if running.process.poll() is None:
                    assert await asyncio.to_thread(running.interrupt) == 0

    async def pay(self, request_id: str) -> httpx2.Response:
        source, to = self.wallets
        return await asyncio.to_thread(
            self.anna.post,
            "/transactions/transfer",
            headers={"X-Request-ID": request_id, "Idempotency-Key": request_id},
            from_wallet_id=source,
            to_wallet_id=to,
            amount=AMOUNT,
            currency="INR",
        )

    def keep(self, answer: httpx2.Response, *, request_id: str) -> Payment:
        payment = Payment(id=data(answer, 201)["id"], request_id=request_id)
        self.payments.append(payment)
        return payment

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """What Ben is shown from where he was, of payments alone."""
        headers = {**self.ben.authorization, "Last-Event-ID": str(self.position)}
        async with (
            httpx2.AsyncClient(
                base_url=self.ben.http.base_url, trust_env=False, timeout=30
            ) as http,
            http.stream("GET", "/api/v1/notifications/stream", headers=headers) as answer,
        ):
            assert answer.status_code == 200
            yield self._payments_in(answer.aiter_lines())

    async def _payments_in(self, lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
        async for line in lines:
            if not line.startswith("data: "):
                continue
            event = json.loads(line.removeprefix("data: "))
            self.position = event["sequence"]
            if event["type"] == "payment_received":
                self.shown.append(event)
                yield event

    async def records(self, payment: Payment) -> list[dict[str, Any]]:
        answer = await asyncio.to_thread(
            self.anna.http.get,
            "/api/v1/audit",
            params={"request_id": payment.request_id},
            headers=self.officer,
        )
        found: list[dict[str, Any]] = data(answer)
        return found

    def deliveries_of(self, payment: Payment) -> list[Received]:
        return [
            request
            for request in self.inbox.requests
            if request.event["data"]["transaction_id"] == payment.id
        ]

    async def is_delivered(self) -> bool:
        """Whether every payment so far has a delivery that is written down as done."""
        path = f"/webhooks/{self.endpoint['id']}/deliveries"
        found = data(await asyncio.to_thread(self.ben.get, path, limit=100))
        states = [delivery["state"] for delivery in found]
        return states == ["delivered"] * len(self.payments)

    async def mails(self, customer: Customer) -> list[dict[str, Any]]:
        """What lies in the sandbox outbox for somebody."""
        path = "/notifications/sandbox-outbox"
        found: list[dict[str, Any]] = data(await asyncio.to_thread(customer.get, path, limit=100))
        return found

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        server = EmbeddedPostgres(self.folder, report=print)
        db = await Database.connect(server.url(SUPERUSER, database="guilder"))
        try:
            yield db
        finally:
            await db.close()

    async def settle(self, *, with_mail: bool) -> None:
        """Wait until nobody has anything left to do: all was heard and, if asked for, mailed."""
        async with self.database() as db:

            async def settled() -> bool:
                queued = "SELECT count(*) FROM notifications.deliveries WHERE status = 'queued'"
                if with_mail and await db.fetchval(queued):
                    return False
                return not any(lag.events or lag.waiting for lag in await lags(db))

            await until(settled, "everybody has heard everything")

    def findings(self) -> list[Any]:
        """What ``guilder verify --json`` finds."""
        done = guilder("verify", "--json", env=self.env, folder=self.folder)
        report = json.loads(done.stdout)
        assert report["valid"] == (done.returncode == 0)
        found: list[Any] = report["findings"]
        return found


def crash_database(folder: Path) -> bool:
    """What ``pg_ctl stop -m immediate`` does; answers whether there was a server to stop."""
    cluster = folder_in(folder).cluster
    server = postmaster_of(cluster)
    if server is None:
        return False
    killed = processes_on(cluster)
    os.kill(server.pid, signal.SIGQUIT)
    assert all(wait_for_end(pid, timeout_s=PATIENCE_S) for pid in killed)
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    env = environment(
        folder,
        RATE_LIMIT="off",
        EGRESS_ALLOW="127.0.0.1:*",
        WEBHOOK_TIMEOUT_S="5",
        WEBHOOK_RETRY_S="0.1,0.1,0.1",
    )
    try:
        async with receiving() as inbox:
            officer = await officer_of(folder)
            yield await asyncio.to_thread(settled_in, folder, env, inbox, officer)
    finally:
        crash_database(folder)  # there is none left, unless a test failed on the way


def settled_in(folder: Path, env: dict[str, str], inbox: Receiver, officer: dict[str, str]) -> Town:
    """A town where Anna has money, and where Ben wants to hear of his."""
    with Running("up", env=env, folder=folder) as running:
        with httpx2.Client(base_url=running.address(), trust_env=False, timeout=30) as http:
            anna, ben = Customer(http, "Anna"), Customer(http, "Ben")
            wallets = anna.open_wallet(funds="1000.00"), ben.open_wallet()
            endpoint = data(
                ben.post("/webhooks/", url=inbox.url, events=["transaction.completed"]), 201
            )
        assert running.interrupt() == 0
    return Town(
        folder=folder,
        env=env,
        inbox=inbox,
        officer=officer,
        anna=anna,
        ben=ben,
        wallets=wallets,
        endpoint=endpoint,
    )


async def officer_of(folder: Path) -> dict[str, str]:
    token = sign(new_id(), key=await signing_key(folder), roles=(COMPLIANCE,))
    return {"Authorization": f"Bearer {token}"}


async def assert_all_have_it_once(town: Town) -> None:
    """Every payment was shown once, mailed once to each side, delivered under one id, recorded."""
    bens, annas = await town.mails(town.ben), await town.mails(town.anna)
    for payment in town.payments:
        (record,) = await town.records(payment)
        assert record["action"] == "transaction.completed"
        assert (record["subject"], record["actor_id"]) == (payment.id, str(town.anna.id))
        received = [mail for mail in bens if payment.id in mail["html"]]
        assert [mail["recipient"] for mail in received] == [town.ben.email]
        sent = [mail for mail in annas if payment.id in mail["html"]]
        assert [mail["recipient"] for mail in sent] == [town.anna.email]
        assert len({request.id for request in town.deliveries_of(payment)}) == 1
    ids = [payment.id for payment in town.payments]
    assert [event["data"]["transaction_id"] for event in town.shown] == ids
    feed = data(await asyncio.to_thread(town.ben.get, "/notifications", limit=100))
    told = [item["data"]["transaction_id"] for item in feed if item["type"] == "payment_received"]
    assert told == ids[::-1]
    for request in town.inbox.requests:
        Webhook(town.endpoint["secret"]).verify(request.body, dict(request.headers))
    assert len(set(town.inbox.ids)) == len(ids)
    assert await asyncio.to_thread(town.findings) == []


def test_every_failpoint_that_is_left_out_exists():
    assert set(ELSEWHERE) < set(every_failpoint())
    assert SENT_TWICE in ON_THE_WAY


async def test_everybody_hears_of_a_payment_once(town: Town):
    request_id = f"journey-{new_id()}"
    async with town.up():
        async with town.stream() as shown:
            payment = town.keep(await town.pay(request_id), request_id=request_id)
            live = await next_of(shown)
        await until(town.is_delivered, "Ben's server has it")
        await town.settle(with_mail=True)

        assert (live["title"], live["data"]["transaction_id"]) == ("₹12.50 received", payment.id)
        assert len(town.deliveries_of(payment)) == 1
        await assert_all_have_it_once(town)


async def test_everybody_hears_of_each_payment_once_wherever_guilder_dies(town: Town):
    for point in ON_THE_WAY:
        request_id = f"{point}-{new_id()}"
        async with town.up(GUILDER_FAILPOINTS=f"{point}=hit:1:kill") as running:
            answer = await answered(town, request_id)
            await asyncio.to_thread(running.die_at, point)
        assert await asyncio.to_thread(crash_database, town.folder)
        async with town.up():
            again = await town.pay(request_id)
            assert again.headers["idempotency-replayed"] == "true", point
            payment = town.keep(again, request_id=request_id)
            assert answer is None or data(answer, 201)["id"] == payment.id
            async with town.stream() as shown:
                assert (await next_of(shown))["data"]["transaction_id"] == payment.id, point
            await until(town.is_delivered, f"Ben's server has it after {point}")
            # what a dead courier held is due again only once its lease is over
            await town.settle(with_mail=not point.startswith(("notification.", "webhook.")))

    async with town.up():
        await town.settle(with_mail=True)
        await assert_all_have_it_once(town)
    (resent,) = (paid for paid in town.payments if paid.request_id.startswith(SENT_TWICE))
    assert len(town.deliveries_of(resent)) == 2


async def next_of(shown: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        return await anext(shown)


async def answered(town: Town, request_id: str) -> httpx2.Response | None:
    """The answer, when it came before Guilder died."""
    try:
        return await town.pay(request_id)
    except httpx2.TransportError:
        return None
