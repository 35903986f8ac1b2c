"""The routes of webhooks: what they take, what they answer, to whom."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.gateway.module import GatewaySettings, build
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.egress import Egress, EgressRules, SystemResolver
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import CUSTOMER, SUPPORT, USER_ADMIN, permissions_of
from guilder.webhooks import module as webhooks
from guilder.webhooks.service.registration import MOST_ENDPOINTS
from tests.support.customer import data, error
from tests.support.post_office import PostOffice
from tests.support.receivers import Receiver
from tests.support.shop import ANNA, BEN, Tokens, caller

STAFF, ADMIN = "token-of-staff", "token-of-a-user-admin"
CLIENT = "token-of-a-machine-client-of-anna"
NOBODYS = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11"


@pytest_asyncio.fixture
async def http(
    db: Database, tmp_path: Path, anna: UserId, ben: UserId
) -> AsyncIterator[httpx2.AsyncClient]:
    """The routes behind the gateway."""
    who = {ANNA: (anna, CUSTOMER), BEN: (ben, CUSTOMER), STAFF: (ben, SUPPORT)}
    who[ADMIN] = (anna, USER_ADMIN)
    callers = {
        token: dataclasses.replace(caller(permissions_of([role])), user_id=user_id)
        for token, (user_id, role) in who.items()
    }
    callers[CLIENT] = dataclasses.replace(callers[ANNA], client_id=UserId(new_id()))
    tokens = Tokens(callers=callers)
    rules = EgressRules(https_only=False, allow=["127.0.0.1:*"])
    module = webhooks.build(
        db=db,
        keys=OuterKeys(tmp_path / "keys"),
        egress=Egress(rules, resolver=SystemResolver()),
        registry=CollectorRegistry(),
    )
    app = build(
        modules=[module],
        verifier=tokens,
        readiness=_ready,
        registry=CollectorRegistry(),
        settings=GatewaySettings(rate_limit="off"),
    )
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def _ready() -> dict[str, bool]:
    return {}


def as_(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def registered(http: httpx2.AsyncClient, receiver: Receiver, **fields: Any) -> dict[str, Any]:
    body = {"url": receiver.url, "events": ["com.guilder.transaction.*"], **fields}
    answer = await http.post("/api/v1/webhooks/", json=body, headers=as_(ANNA))
    found: dict[str, Any] = data(answer, 201)
    return found


async def test_a_secret_is_shown_when_it_is_made_and_never_again(
    http: httpx2.AsyncClient, receiver: Receiver
):
    made = await registered(http, receiver, description="Books")
    path = f"/api/v1/webhooks/{made['id']}"

    seen = data(await http.get(path, headers=as_(ANNA)))
    listed = data(await http.get("/api/v1/webhook/webhooks/", headers=as_(ANNA)))
    rotated = data(await http.post(f"{path}/rotate-secret", headers=as_(ANNA)))

    assert made["secret"].startswith("whsec_")
    assert (made["events"], made["enabled"], made["description"]) == (
        ["transaction.*"],
        True,
        "Books",
    )
    assert seen == {name: made[name] for name in made if name != "secret"}
    assert listed == [seen]
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_valid_until"] > rotated["updated_at"]


async def test_a_test_event_arrives_and_is_in_the_log(
    http: httpx2.AsyncClient, receiver: Receiver, office: PostOffice
):
    made = await registered(http, receiver)
    path = f"/api/v1/webhooks/{made['id']}"

    begun = data(await http.post(f"{path}/test", headers=as_(ANNA)), 202)
    await office.send()

    (listed,) = data(await http.get(f"{path}/deliveries", headers=as_(ANNA)))
    one = data(
        await http.get(f"/api/v1/webhooks/deliveries/{begun['delivery_id']}", headers=as_(ANNA))
    )
    assert receiver.ids == [begun["delivery_id"]]
    assert listed == one
    assert (one["event"], one["state"], one["attempts"][0]["status"]) == (
        "webhook.test",
        "delivered",
        200,
    )


async def test_deliveries_come_in_pages_newest_first_and_by_state(
    http: httpx2.AsyncClient, receiver: Receiver, office: PostOffice
):
    made = await registered(http, receiver)
    path = f"/api/v1/webhooks/{made['id']}"
    ids = [
        data(await http.post(f"{path}/test", headers=as_(ANNA)), 202)["delivery_id"]
        for _ in range(5)
    ]
    first = await http.get(f"{path}/deliveries?limit=3", headers=as_(ANNA))
    cursor = first.json()["meta"]["next_cursor"]
    second = await http.get(f"{path}/deliveries?limit=3&cursor={cursor}", headers=as_(ANNA))
    other = await http.get(
        f"{path}/deliveries?limit=3&cursor={cursor}&state=pending", headers=as_(ANNA)
    )
    none = await http.get(f"{path}/deliveries?state=delivered", headers=as_(ANNA))
    wrong = await http.get(f"{path}/deliveries?state=lost", headers=as_(ANNA))

    found = [delivery["id"] for page in (first, second) for delivery in data(page)]
    assert found == ids[::-1]
    assert second.json()["meta"]["has_more"] is False
    assert error(other, 400)["code"] == "VALIDATION_ERROR"
    assert data(none) == []
    assert error(wrong, 400)["details"]["fields"]["state"]
    assert await office.send() == 5


async def test_an_endpoint_is_changed_disabled_and_deleted(
    http: httpx2.AsyncClient, receiver: Receiver
):
    made = await registered(http, receiver)
    path = f"/api/v1/webhooks/{made['id']}"

    changed = data(
        await http.patch(
            path, json={"events": ["account.frozen"], "enabled": False}, headers=as_(ANNA)
        )
    )
    refused = await http.post(f"{path}/test", headers=as_(ANNA))
    deleted = await http.delete(path, headers=as_(ANNA))
    after = await http.get(path, headers=as_(ANNA))

    assert changed["events"] == ["account.frozen"]
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "owner")
    assert error(refused, 409)["code"] == "CONFLICT"
    assert deleted.status_code == 204
    assert error(after, 404)["code"] == "NOT_FOUND"


async def test_bad_addresses_and_filters_are_refused_and_leave_nothing(http: httpx2.AsyncClient):
    bodies: list[dict[str, Any]] = [
        {"url": "http://127.0.0.2/"},
        {"url": "http://10.0.0.1/"},
        {"url": "http://169.254.169.254/latest/meta-data/"},
        {"url": "http://[::ffff:10.0.0.1]/"},
        {"url": "https://anna:pw@example.com/"},
        {"url": "file:///etc/passwd"},
        {"url": ""},
        {"url": "https://example.com/", "events": []},
        {"url": "https://example.com/", "events": ["nothing.*"]},
        {"url": "https://example.com/", "events": ["*"], "secret": "mine"},
        {},
    ]

    for body in bodies:
        answer = await http.post("/api/v1/webhooks", json=body, headers=as_(ANNA))
        assert error(answer, 400)["code"] == "VALIDATION_ERROR", body
    assert data(await http.get("/api/v1/webhooks", headers=as_(ANNA))) == []


async def test_a_range_that_ends_before_it_begins_is_refused(
    http: httpx2.AsyncClient, receiver: Receiver
):
    made = await registered(http, receiver)
    path = f"/api/v1/webhooks/{made['id']}/replay"
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"

    good = await http.post(path, json={"since": early, "until": late}, headers=as_(ANNA))
    bad = await http.post(path, json={"since": late, "until": early}, headers=as_(ANNA))

    assert data(good, 202) == {"replayed": 0}
    assert "until" in error(bad, 400)["details"]["fields"]


async def test_what_is_anothers_is_not_there(
    http: httpx2.AsyncClient, receiver: Receiver, office: PostOffice
):
    made = await registered(http, receiver)
    begun = data(await http.post(f"/api/v1/webhooks/{made['id']}/test", headers=as_(ANNA)), 202)
    window = {"since": "2026-01-01T00:00:00Z", "until": "2100-01-02T00:00:00Z"}
    asked: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "", None),
        ("PATCH", "", {"enabled": False}),
        ("DELETE", "", None),
        ("POST", "/test", None),
        ("POST", "/rotate-secret", None),
        ("GET", "/deliveries", None),
        ("POST", "/replay", window),
    ]

    for endpoint_id in (made["id"], NOBODYS, "x"):
        for method, tail, body in asked:
            answer = await http.request(
                method, f"/api/v1/webhooks/{endpoint_id}{tail}", json=body, headers=as_(BEN)
            )
            assert error(answer, 404)["code"] == "NOT_FOUND", (method, tail)
    for delivery_id in (begun["delivery_id"], NOBODYS):
        for method, tail in (("GET", ""), ("POST", "/replay")):
            answer = await http.request(
                method, f"/api/v1/webhooks/deliveries/{delivery_id}{tail}", headers=as_(BEN)
            )
            assert error(answer, 404)["code"] == "NOT_FOUND", (method, tail)
    assert await office.send() == 1


async def test_staff_look_at_anybodys_endpoints_and_change_none(
    http: httpx2.AsyncClient, receiver: Receiver
):
    made = await registered(http, receiver, url=f"{receiver.url}?token=hidden")
    path = f"/api/v1/webhooks/{made['id']}"

    seen = data(await http.get(path, headers=as_(STAFF)))
    log = await http.get(f"{path}/deliveries", headers=as_(STAFF))
    change = await http.patch(path, json={"enabled": False}, headers=as_(STAFF))

    assert seen["url"] == receiver.url
    assert data(log) == []
    assert error(change, 403)["code"] == "FORBIDDEN"


async def test_a_user_admin_has_no_webhooks(http: httpx2.AsyncClient, receiver: Receiver):
    made = await registered(http, receiver)

    answer = await http.get(f"/api/v1/webhooks/{made['id']}", headers=as_(ADMIN))

    assert error(answer, 403)["code"] == "FORBIDDEN"


async def test_nobody_registers_endpoints_without_end(http: httpx2.AsyncClient, receiver: Receiver):
    for _ in range(MOST_ENDPOINTS):
        await registered(http, receiver)

    answer = await http.post("/api/v1/webhooks", json={"url": receiver.url}, headers=as_(ANNA))
    page = await http.get("/api/v1/webhooks?limit=15", headers=as_(ANNA))
    cursor = page.json()["meta"]["next_cursor"]
    rest = await http.get(f"/api/v1/webhooks?limit=15&cursor={cursor}", headers=as_(ANNA))

    assert error(answer, 409)["code"] == "CONFLICT"
    assert (len(data(page)), len(data(rest))) == (15, MOST_ENDPOINTS - 15)


async def test_a_machine_clients_endpoints_are_not_its_users(
    http: httpx2.AsyncClient, receiver: Receiver, anna: UserId
):
    answer = await http.post("/api/v1/webhooks", json={"url": receiver.url}, headers=as_(CLIENT))
    made = data(answer, 201)
    path = f"/api/v1/webhooks/{made['id']}"

    annas = data(await http.get("/api/v1/webhooks", headers=as_(ANNA)))
    its = data(await http.get("/api/v1/webhooks", headers=as_(CLIENT)))

    assert (made["user_id"], "client_id" in made) == (str(anna), True)
    assert annas == []
    assert [endpoint["id"] for endpoint in its] == [made["id"]]
    assert error(await http.delete(path, headers=as_(ANNA)), 404)["code"] == "NOT_FOUND"
    assert (await http.delete(path, headers=as_(CLIENT))).status_code == 204
