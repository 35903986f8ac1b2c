"""A fault at each failpoint of the ledger: its acts are done once or not at all, and told so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from uuid import uuid4

import httpx2
import pytest

from guilder.ledger.service.acts import AFTER_COMMIT, BEFORE_COMMIT, CHANGED
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.post_transactions import AFTER_CHUNK, PIECE
from guilder.ledger.store.checks import CHECKS
from guilder.platform import failpoints
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from guilder.platform.failpoints import FailpointReached
from tests.support.counting_house import CountingHouse, funded, held_shortly, moved
from tests.support.ledger import Teller

POINTS = (CHANGED, BEFORE_COMMIT, AFTER_COMMIT)
Send = Callable[[], Awaitable[httpx2.Response]]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


async def acts(house: CountingHouse, teller: Teller) -> dict[str, Send]:
    """Everything that can be done, each with what makes it safe to repeat."""
    anna, ben = await funded(house), await house.open()
    until = (await teller.now() + timedelta(hours=1)).isoformat()
    pending = {"pending": True, "expires_at": until, "entries": moved(anna, ben, "2")}
    held = [(await house.post("/transactions", **pending)).json()["data"]["id"] for _ in range(2)]
    paid = await house.post("/transactions", entries=moved(anna, ben, "3"))
    paid_id = paid.json()["data"]["id"]
    control = {"subject_id": anna, "currency": "INR", "direction": "outflow", "time_zone": "UTC"}
    items = [{"entries": moved(anna, ben, "1")} for _ in range(3)]
    key, account, owner, limit = uuid4().hex, *(str(uuid4()) for _ in range(3))
    return {
        "journal": lambda: house.post("/transactions", key=key, entries=moved(anna, ben, "1")),
        "hold": lambda: house.post("/transactions", key=f"h{key}", **pending),
        "post": lambda: house.post(f"/transactions/{held[0]}/post", amount="1"),
        "void": lambda: house.post(f"/transactions/{held[1]}/void"),
        "reverse": lambda: house.post(f"/transactions/{paid_id}/reverse", key=key),
        "bulk": lambda: house.post("/transactions/bulk", key=f"b{key}", transactions=items),
        "open": lambda: house.post(
            "/accounts", id=account, owner_id=owner, code="till", type="asset", currency="INR"
        ),
        "freeze": lambda: house.post(f"/accounts/{account}/freeze", debits_only=True),
        "floor": lambda: house.put(f"/accounts/{anna}/floor", floor="-5"),
        "control": lambda: house.put(f"/controls/{limit}", **control, per_day="500"),
    }


def test_every_failpoint_of_the_ledger_is_tried():
    ours = {name for name in failpoints.declared() if name.startswith("ledger.")}

    assert ours == {*POINTS, AFTER_CHUNK}


@pytest.mark.parametrize("point", POINTS)
async def test_an_error_there_leaves_each_act_done_once_or_not_at_all(
    house: CountingHouse, teller: Teller, db: Database, point: str
):
    for name, send in (await acts(house, teller)).items():
        before = await _told(db)

        failpoints.arm(f"{point}=raise")
        failed = await send()
        failpoints.arm("")
        kept = await _told(db) - before
        again = [await send() for _ in range(2)]

        assert failed.status_code == 500, name
        assert kept == (1 if point == AFTER_COMMIT else 0), name
        assert {answer.is_success for answer in again} == {True}, name
        assert await _told(db) == before + 1, name
    assert await _findings(db) == []


@pytest.mark.parametrize("point", POINTS)
async def test_an_error_while_holds_expire_lets_them_expire_the_next_time(
    teller: Teller, house: CountingHouse, db: Database, point: str
):
    anna, ben = await funded(house), await house.open()
    held_id, soon = await held_shortly(house, teller, moved(anna, ben, "2"))
    before = await _told(db)
    await db.fetchval("SELECT pg_sleep_until($1)", soon)
    holds = EndHolds(db, ledger=teller.ledger)

    failpoints.arm(f"{point}=raise")
    with pytest.raises(FailpointReached):
        await holds.expire_due()
    failpoints.arm("")
    await holds.expire_due()

    answer = await house.get(f"/transactions/{held_id}")
    assert answer.json()["data"]["state"] == "expired"
    assert await _told(db) == before + 1
    assert await _findings(db) == []


async def test_a_bulk_posting_that_is_cut_between_its_chunks_goes_on_there(
    house: CountingHouse, db: Database
):
    anna, ben = await funded(house), await house.open()
    items = [{"entries": moved(anna, ben, "0.01")} for _ in range(PIECE + 1)]

    failpoints.arm(f"{AFTER_CHUNK}=raise")
    cut = await house.post("/transactions/bulk", key="salaries", transactions=items)
    failpoints.arm("")
    rest = await house.post("/transactions/bulk", key="salaries", transactions=items)

    assert cut.status_code == 500
    data = rest.json()["data"]
    assert (data["posted"], data["replayed"], data["refused"]) == (1, PIECE, 0)
    assert (await house.get(f"/accounts/{ben}")).json()["data"]["balance"] == "10.01"
    assert await _findings(db) == []


async def _told(db: Database) -> int:
    count: int = await db.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE type LIKE 'com.guilder.ledger.%'"
    )
    return count


async def _findings(db: Database) -> list[object]:
    return [finding for done in await run_checks(db, CHECKS) for finding in done.findings]
