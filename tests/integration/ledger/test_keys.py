"""Idempotency keys on the ledger's routes: each names an id, and the id is the claim."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

from guilder.kernel.ids import UserId
from tests.support.counting_house import CountingHouse, funded, moved
from tests.support.ledger import Teller


async def test_an_idempotency_key_stands_for_an_id(house: CountingHouse):
    anna, ben = await funded(house), await house.open()

    first = await house.post("/transactions", key="rent-may", entries=moved(anna, ben, "5"))
    again = await house.post("/transactions", key="rent-may", entries=moved(anna, ben, "5"))
    other = house.as_("operations", UserId(uuid4()))
    theirs = await other.post("/transactions", key="rent-may", entries=moved(anna, ben, "5"))

    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert theirs.json()["data"]["id"] != first.json()["data"]["id"]


async def test_a_key_that_stands_for_something_else_is_told_what_differs(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    five = moved(anna, ben, "5")
    thanks = [{"entries": moved(ben, anna, "1")} for _ in range(2)]

    first = await house.post("/transactions", key="rent", entries=five, linked=thanks)
    id_ = first.json()["data"]["id"]
    again = await house.post("/transactions", key="rent", entries=five, linked=thanks)
    changed = [
        await house.post(
            "/transactions", key="rent", entries=moved(anna, ben, "6"), linked=thanks, kind="gift"
        ),
        await house.post("/transactions", key="rent", entries=five, linked=thanks[:1]),
        await house.post("/transactions", key="rent", entries=five, linked=[*thanks, *thanks]),
    ]
    await house.post(f"/transactions/{id_}/reverse", key="undo", amount="1")
    changed.append(await house.post(f"/transactions/{id_}/reverse", key="undo", amount="2"))
    await house.post("/accounts", key="till", code="till", type="asset", currency="INR")
    changed.append(
        await house.post("/accounts", key="till", code="till", type="asset", currency="JPY")
    )
    bulk = [{"entries": moved(anna, ben, "1")}]
    await house.post("/transactions/bulk", key="many", transactions=bulk)
    bulk[0]["entries"] = moved(anna, ben, "2")
    many = await house.post("/transactions/bulk", key="many", transactions=bulk)

    assert again.json() == first.json()
    errors = [answer.json()["error"] for answer in changed]
    errors.append(many.json()["data"]["results"][0]["error"])
    assert {error["code"] for error in errors} == {"IDEMPOTENCY_KEY_REUSED"}
    assert [sorted(error["details"]["fields"]) for error in errors] == [
        ["entries", "kind"],
        ["linked"],
        ["linked"],
        ["amount"],
        ["currency"],
        ["entries"],
    ]
    assert {answer.status_code for answer in changed} == {409}


async def test_a_key_that_also_stands_for_many_in_bulk_can_be_repeated(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    one, five = moved(anna, ben, "1"), moved(anna, ben, "5")

    await house.post("/transactions/bulk", key="rent", transactions=[{"entries": one}] * 3)
    first = await house.post("/transactions", key="rent", entries=five)
    again = await house.post("/transactions", key="rent", entries=five)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_an_account_is_opened_once_though_its_key_comes_many_times_at_once(
    house: CountingHouse,
):
    till = {"code": "till", "type": "asset", "currency": "INR", "owner_id": str(uuid4())}

    done = await asyncio.gather(*(house.post("/accounts", key="till", **till) for _ in range(6)))
    other = await house.post("/accounts", key="till", **{**till, "code": "safe"})

    assert {answer.status_code for answer in done} == {201}
    assert len({answer.json()["data"]["id"] for answer in done}) == 1
    assert other.json()["error"]["details"]["fields"] == {"code": "differs from the first request"}


async def test_an_account_is_the_same_with_the_floor_that_it_was_opened_with(
    house: CountingHouse,
):
    till = {"code": "till", "type": "asset", "currency": "INR", "owner_id": str(uuid4())}
    first = await house.post("/accounts", key="till", floor="-1", **till)
    path = f"/accounts/{first.json()['data']['id']}/floor"

    changed = await house.post("/accounts", key="till", floor="-9", **till)
    for floor in ("-9", "-5"):
        await house.put(path, floor=floor)
    again = await house.post("/accounts", key="till", floor="-1", **till)
    newer = await house.post("/accounts", key="till", floor="-5", **till)

    assert (again.status_code, again.json()["data"]["floor"]) == (201, "-5.00")
    replayed = [answer.headers.get("Idempotency-Replayed") for answer in (first, again)]
    assert replayed == [None, "true"]
    errors = [answer.json()["error"] for answer in (changed, newer)]
    assert {error["code"] for error in errors} == {"IDEMPOTENCY_KEY_REUSED"}
    assert [list(error["details"]["fields"]) for error in errors] == [["floor"], ["floor"]]


async def test_a_hold_is_voided_once(house: CountingHouse, teller: Teller):
    anna, ben = await funded(house), await house.open()
    until = (await teller.now() + timedelta(minutes=5)).isoformat()
    held = await house.post(
        "/transactions", pending=True, expires_at=until, entries=moved(anna, ben, "30")
    )
    path = f"/transactions/{held.json()['data']['id']}/void"

    first, again = await house.post(path, key="no"), await house.post(path, key="no")

    assert first.json() == again.json()
    assert (first.status_code, first.headers["Idempotency-Key"]) == (200, "no")
    replayed = [a.headers.get("Idempotency-Replayed") for a in (first, again)]
    assert replayed == [None, "true"]
