"""Ben's own server hears of the money Anna sends him, although Guilder is killed on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from tests.support.customer import Customer, data
from tests.support.guilder import Running, environment, guilder
from tests.support.receivers import Receiver, receiving
from tests.support.waiting import until

POINTS = ("webhook.before_send", "webhook.after_send")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A Guilder that may call this machine, and that soon takes a delivery for abandoned."""
    return environment(
        tmp_path,
        RATE_LIMIT="off",
        EGRESS_ALLOW="127.0.0.1:*",
        WEBHOOK_TIMEOUT_S="5",
        WEBHOOK_RETRY_S="0.1,0.1,0.1",
    )


@pytest_asyncio.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@asynccontextmanager
async def up(
    env: Mapping[str, str], folder: Path, **more: str
) -> AsyncIterator[tuple[Running, httpx2.Client]]:
    """Guilder, while the loop goes on in which the inbox hears."""
    with Running("up", env={**env, **more}, folder=folder) as running:
        address = await asyncio.to_thread(running.address)
        with httpx2.Client(base_url=address, trust_env=False, timeout=60) as http:
            yield running, http


async def pay(anna: Customer, source: str, to: str) -> str:
    answer = await asyncio.to_thread(anna.transfer, source, to, "10.00")
    id_: str = data(answer, 201)["id"]
    return id_


async def test_each_payment_is_told_once_in_effect_though_guilder_dies_before_and_after_sending(
    env: dict[str, str], tmp_path: Path, inbox: Receiver
):
    async with up(env, tmp_path) as (running, http):
        anna, ben = await asyncio.to_thread(lambda: (Customer(http, "Anna"), Customer(http, "Ben")))
        annas = await asyncio.to_thread(anna.open_wallet, funds="1000.00")
        bens = await asyncio.to_thread(ben.open_wallet)
        wish = {"url": inbox.url, "events": ["transaction.completed"]}
        made = data(await asyncio.to_thread(lambda: ben.post("/webhooks/", **wish)), 201)
        told = [await pay(anna, annas, bens)]
        await inbox.received(1)
        assert await asyncio.to_thread(running.interrupt) == 0

    for point in POINTS:
        killed = {"GUILDER_FAILPOINTS": f"{point}=hit:1:kill"}
        async with up(env, tmp_path, **killed) as (running, http):
            anna.http = http
            told.append(await pay(anna, annas, bens))
            await asyncio.to_thread(running.die_at, point)
        async with up(env, tmp_path) as (running, http):
            ben.http = http
            await inbox.received(len(told))
            await until(lambda: is_told(ben, made["id"]), "it is written down")
            assert await asyncio.to_thread(running.interrupt) == 0

    async with up(env, tmp_path) as (running, _):
        verified = await asyncio.to_thread(
            lambda: guilder("verify", "--json", env=env, folder=tmp_path)
        )
        assert await asyncio.to_thread(running.interrupt) == 0
    for request in inbox.requests:
        Webhook(made["secret"]).verify(request.body, dict(request.headers))
    by_event = {request.event["data"]["transaction_id"]: request.id for request in inbox.requests}
    assert list(by_event) == told
    assert len(inbox.requests) == len(told) + 1
    assert len(set(inbox.ids)) == len(told)
    assert json.loads(verified.stdout)["findings"] == []


async def is_told(ben: Customer, endpoint_id: str) -> bool:
    path = f"/webhooks/{endpoint_id}/deliveries"
    found = data(await asyncio.to_thread(lambda: ben.get(path)))
    return {delivery["state"] for delivery in found} == {"delivered"}
