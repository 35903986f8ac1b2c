"""What the ledger's routes tell: an event for each change, none for a repetition, by whom."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.store.checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from tests.support.counting_house import CountingHouse, funded, held_shortly, moved
from tests.support.ledger import Teller
from tests.support.tampering import Connection, findings_of

PREFIX = "com.guilder.ledger."


class Told:
    """The ledger's events, those from before left out."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def since(self, position: int) -> list[tuple[str, str, dict[str, Any]]]:
        rows = await self._db.fetch(
            "SELECT type, key, data::text AS data FROM platform.outbox "
            "WHERE type LIKE $1 AND position > $2 ORDER BY position",
            f"{PREFIX}%",
            position,
        )
        return [
            (row["type"].removeprefix(PREFIX), row["key"], json.loads(row["data"])) for row in rows
        ]

    async def position(self) -> int:
        return int(
            await self._db.fetchval("SELECT COALESCE(max(position), 0) FROM platform.outbox")
        )


@pytest.fixture
def told(db: Database) -> Told:
    return Told(db)


async def test_a_transaction_is_told_once_however_often_it_is_sent(
    house: CountingHouse, told: Told, db: Database
):
    anna, ben = await funded(house), await house.open()
    before = await told.position()

    for _ in range(2):
        posted = await house.post(
            "/transactions",
            key="cake",
            kind="gift",
            description="For Ben",
            entries=moved(anna, ben, "10.50"),
            linked=[{"entries": moved(ben, anna, "1")}],
        )
    refused = await house.post("/transactions", entries=moved(anna, ben, "1000"))

    data = posted.json()["data"]
    assert refused.status_code == 412
    events = await told.since(before)
    assert [(type_, key) for type_, key, _ in events] == [
        ("transaction_posted", data["id"]),
        ("transaction_posted", data["linked"][0]["id"]),
    ]
    assert events[0][2] == {
        "transaction_id": data["id"],
        "kind": "gift",
        "entries": 2,
        "totals": {"INR": "10.50"},
        "recorded_at": data["recorded_at"],
    }
    row = await db.fetchrow(
        "SELECT actor_id, request_id FROM platform.outbox WHERE key = $1", data["id"]
    )
    assert row is not None
    assert row["actor_id"] == house.user_id
    assert row["request_id"] is not None


async def test_each_end_of_a_hold_is_told(
    house: CountingHouse, told: Told, db: Database, teller: Teller
):
    anna, ben = await funded(house), await house.open()
    before = await told.position()
    late = await teller.now() + timedelta(hours=1)
    ids = []
    for _ in range(2):
        held = await house.post(
            "/transactions",
            pending=True,
            expires_at=late.isoformat(),
            entries=moved(anna, ben, "5"),
        )
        ids.append(held.json()["data"]["id"])
    id_, soon = await held_shortly(house, teller, moved(anna, ben, "5"))
    ids.append(id_)

    for _ in range(2):
        await house.post(f"/transactions/{ids[0]}/post", amount="2")
        await house.post(f"/transactions/{ids[1]}/void")
    await db.fetchval("SELECT pg_sleep_until($1)", soon)
    await EndHolds(db, ledger=teller.ledger).expire_due()

    events = await told.since(before)
    assert [(type_, key) for type_, key, _ in events] == [
        *(("hold_opened", id_) for id_ in ids),
        ("hold_posted", ids[0]),
        ("hold_voided", ids[1]),
        ("hold_expired", ids[2]),
    ]
    assert events[3][2] == {
        "transaction_id": ids[0],
        "amount": "2.00",
        "held": "5.00",
        "currency": "INR",
    }


async def test_a_reversal_is_told_of_its_original(house: CountingHouse, told: Told):
    anna, ben = await funded(house), await house.open()
    paid = await house.post("/transactions", entries=moved(anna, ben, "10"))
    id_ = paid.json()["data"]["id"]
    before = await told.position()

    for _ in range(2):
        undone = await house.post(f"/transactions/{id_}/reverse", key="sorry", amount="4")

    reversal = undone.json()["data"]
    assert await told.since(before) == [
        (
            "transaction_reversed",
            id_,
            {
                "transaction_id": id_,
                "reversal_id": reversal["id"],
                "totals": {"INR": "4.00"},
                "recorded_at": reversal["recorded_at"],
            },
        )
    ]


async def test_what_is_posted_in_bulk_is_told_together(house: CountingHouse, told: Told):
    anna, ben = await funded(house), await house.open()
    items = [{"id": str(uuid4()), "entries": moved(anna, ben, "1")} for _ in range(5)]
    items[2]["entries"] = moved(anna, ben, "1000")
    before = await told.position()

    await house.post("/transactions/bulk", transactions=items)
    await house.post("/transactions/bulk", transactions=items)

    ((type_, key, data),) = await told.since(before)
    assert (type_, key) == ("transactions_posted", items[0]["id"])
    assert (data["count"], data["pending"]) == (4, 0)
    assert (data["first_id"], data["last_id"]) == (items[0]["id"], items[4]["id"])


async def test_changes_of_accounts_and_controls_are_told_with_what_was_before(
    house: CountingHouse, told: Told
):
    before = await told.position()
    owner, control = str(uuid4()), str(uuid4())
    terms = {
        "subject_id": owner,
        "currency": "INR",
        "direction": "outflow",
        "time_zone": "Asia/Kolkata",
    }

    anna = str(uuid4())
    for _ in range(2):
        await house.open(id=anna, owner_id=owner)
        await house.post(f"/accounts/{anna}/freeze", debits_only=True)
        await house.put(f"/accounts/{anna}/floor", floor="-5")
        await house.put(f"/controls/{control}", **terms, per_day="10")
    await house.put(f"/controls/{control}", **terms, per_day="20", kinds=["gift"])

    events = await told.since(before)
    assert [(type_, key) for type_, key, _ in events] == [
        ("account_opened", anna),
        ("account_status_changed", anna),
        ("account_floor_changed", anna),
        ("control_set", owner),
        ("control_set", owner),
    ]
    sides = [(data.get("before"), data.get("after")) for _, _, data in events]
    assert sides[1:3] == [
        ({"status": "open"}, {"status": "frozen_debits"}),
        ({"floor": "0.00"}, {"floor": "-5.00"}),
    ]
    assert sides[3][0] is None
    assert sides[3][1] == sides[4][0]
    assert (sides[4][1]["per_day"], sides[4][1]["kinds"]) == ("20.00", ["gift"])


TAKEN_OUT = {
    "a voided hold and its transaction": """
        WITH gone AS (DELETE FROM ledger.holds WHERE state = 'voided' RETURNING transaction_id)
        DELETE FROM ledger.transactions WHERE id IN (SELECT transaction_id FROM gone)
    """,
    "all changes of floors": "DELETE FROM ledger.floor_changes",
    "an account that was never used": "DELETE FROM ledger.accounts WHERE moved_at IS NULL",
    "the controls": "DELETE FROM ledger.controls",
}


@pytest.mark.parametrize("edit", TAKEN_OUT.values(), ids=TAKEN_OUT)
async def test_what_was_taken_out_whole_is_found_by_its_event(
    house: CountingHouse, teller: Teller, db: Database, superuser: Connection, edit: str
):
    anna, ben = await funded(house), await house.open()
    until = (await teller.now() + timedelta(hours=1)).isoformat()
    held = await house.post(
        "/transactions", pending=True, expires_at=until, entries=moved(anna, ben, "5")
    )
    await house.post(f"/transactions/{held.json()['data']['id']}/void")
    await house.put(f"/accounts/{anna}/floor", floor="-5")
    await house.put(
        f"/controls/{uuid4()}",
        subject_id=anna,
        currency="INR",
        direction="outflow",
        time_zone="UTC",
        per_day="500",
    )
    await house.open()
    clean = [finding for done in await run_checks(db, CHECKS) for finding in done.findings]

    transaction = superuser.transaction()
    await transaction.start()
    await superuser.execute("SET LOCAL session_replication_role = replica")
    done = await superuser.execute(edit)
    found = await findings_of(superuser, CHECKS)
    await transaction.rollback()

    assert clean == []
    assert not done.endswith(" 0")
    assert found


async def test_an_account_that_is_closed_again_stays_as_it_is_and_is_told_of_once(
    house: CountingHouse, told: Told
):
    """Whoever lost the answer asks again, and is not told that somebody else was first."""
    anna = await house.open()
    before = await told.position()

    closed = await house.post(f"/accounts/{anna}/close")
    again = await house.post(f"/accounts/{anna}/close")

    assert (closed.status_code, again.status_code) == (200, 200)
    assert again.json() == closed.json()
    events = await told.since(before)
    assert [(type_, key) for type_, key, _ in events] == [("account_status_changed", anna)]
