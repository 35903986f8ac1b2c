"""The ledger's routes as services, staff and owners call them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import uuid4

import asyncpg

from guilder.kernel.ids import AccountId, UserId
from guilder.ledger.service.read_ledger import CHAINS_AT_ONCE, CHAINS_WAITING
from tests.support.counting_house import CountingHouse, entry, funded, moved
from tests.support.ledger import Teller


async def test_a_posted_transaction_is_answered_with_its_entries(house: CountingHouse):
    anna, ben = await funded(house), await house.open()

    answer = await house.post(
        "/transactions",
        kind="gift",
        description="For the cake",
        metadata={"b": 2, "a": {"rate": 1.25}},
        entries=moved(anna, ben, "10.50"),
    )

    assert answer.status_code == 201
    data = answer.json()["data"]
    assert [(e["account_id"], e["direction"], e["amount"]) for e in data["entries"]] == [
        (anna, "debit", "10.50"),
        (ben, "credit", "10.50"),
    ]
    assert data["state"] == "posted"
    assert data["metadata"] == {"a": {"rate": 1.25}, "b": 2}
    read = await house.get(f"/transactions/{data['id']}")
    assert read.json()["data"] == data
    verified = await house.get(f"/transactions/{data['id']}/verify")
    assert verified.json()["data"] == {"balanced": True}


async def test_the_same_id_posts_once_and_other_contents_are_refused(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    id_ = str(uuid4())

    first = await house.post("/transactions", id=id_, entries=moved(anna, ben, "5"))
    again = await house.post("/transactions", id=id_, entries=moved(anna, ben, "5.00"))
    other = await house.post("/transactions", id=id_, entries=moved(anna, ben, "6"))

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 409)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    account = await house.get(f"/accounts/{ben}")
    assert account.json()["data"]["balance"] == "5.00"


async def test_entries_that_do_not_balance_are_refused(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    yen = await house.open(currency="JPY")

    lopsided = await house.post(
        "/transactions", entries=[entry(anna, "debit", "5"), entry(ben, "credit", "4")]
    )
    mixed = await house.post("/transactions", entries=moved(anna, yen, "5"))
    single = await house.post("/transactions", entries=[entry(anna, "debit", "5")])
    fine = await house.post("/transactions", entries=moved(anna, ben, "5.001"))

    assert [a.status_code for a in (lopsided, mixed, single, fine)] == [400, 400, 400, 400]
    assert "entries[0].amount" in fine.json()["error"]["details"]["fields"]


async def test_linked_transactions_are_posted_together_or_not_at_all(house: CountingHouse):
    anna, ben, carla = await funded(house), await house.open(), await house.open()

    refused = await house.post(
        "/transactions",
        entries=moved(anna, ben, "60"),
        linked=[{"entries": moved(ben, carla, "61")}],
    )
    posted = await house.post(
        "/transactions",
        entries=moved(anna, ben, "60"),
        linked=[{"entries": moved(ben, carla, "59")}],
    )

    assert refused.status_code == 412
    assert refused.json()["error"]["details"]["index"] == 1
    assert len(posted.json()["data"]["linked"]) == 1
    balances = [(await house.get(f"/accounts/{a}")).json()["data"]["balance"] for a in (anna, ben)]
    assert balances == ["40.00", "1.00"]


async def test_a_group_is_repeated_as_a_whole_or_refused(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    first, second, third = (str(uuid4()) for _ in range(3))
    gift = {"id": first, "entries": moved(anna, ben, "1")}
    thanks = {"id": second, "entries": moved(ben, anna, "1")}
    other = {"id": third, "entries": moved(ben, anna, "1")}

    posted = await house.post("/transactions", **gift, linked=[thanks])
    again = await house.post("/transactions", **gift, linked=[thanks])
    mixed = await house.post("/transactions", **gift, linked=[other])
    changed = await house.post("/transactions", **gift, linked=[{**thanks, "kind": "else"}])
    twice = await house.post("/transactions", **other, linked=[other])

    statuses = [answer.status_code for answer in (posted, again, mixed, changed, twice)]
    assert statuses == [201, 201, 409, 409, 409]
    assert [a.json()["error"]["details"]["index"] for a in (mixed, changed)] == [0, 1]
    assert again.json() == posted.json()


async def test_a_hold_is_posted_in_part_once(house: CountingHouse, teller: Teller):
    anna, ben = await funded(house), await house.open()
    until = (await teller.now() + timedelta(minutes=5)).isoformat()
    held = await house.post(
        "/transactions", pending=True, expires_at=until, entries=moved(anna, ben, "30")
    )
    path = f"/transactions/{held.json()['data']['id']}"

    too_much = await house.post(f"{path}/post", amount="30.01")
    posted = await house.post(f"{path}/post", amount="12.34")
    again = await house.post(f"{path}/post", amount="12.34")
    other = await house.post(f"{path}/post", amount="1")
    voided = await house.post(f"{path}/void")

    assert held.json()["data"]["state"] == "pending"
    assert held.json()["data"]["held"][0]["amount"] == "30.00"
    assert [a.status_code for a in (too_much, posted, again, other, voided)] == [
        412,
        200,
        200,
        409,
        409,
    ]
    assert again.json() == posted.json()
    replayed = [a.headers.get("Idempotency-Replayed") for a in (posted, again)]
    assert replayed == [None, "true"]
    account = (await house.get(f"/accounts/{anna}")).json()["data"]
    assert (account["balance"], account["available"]) == ("87.66", "87.66")


async def test_a_pending_transaction_needs_its_end(house: CountingHouse):
    anna, ben = await funded(house), await house.open()

    answer = await house.post("/transactions", pending=True, entries=moved(anna, ben, "5"))

    assert answer.status_code == 400
    assert "expires_at" in answer.json()["error"]["details"]["fields"]


async def test_reversals_in_parts_never_pass_the_original(house: CountingHouse):
    anna, ben, carla = await funded(house), await house.open(), await house.open()
    paid = await house.post(
        "/transactions",
        entries=[
            entry(anna, "debit", "10.00"),
            entry(ben, "credit", "6.67"),
            entry(carla, "credit", "3.33"),
        ],
    )
    path = f"/transactions/{paid.json()['data']['id']}/reverse"

    part = await house.post(path, amount="5.01")
    too_much = await house.post(path, amount="5.00")
    rest = await house.post(path, key="the-rest")
    repeated = await house.post(path, key="the-rest")
    nothing = await house.post(path)
    reversal = await house.post(f"/transactions/{part.json()['data']['id']}/reverse", amount="1")

    statuses = [a.status_code for a in (part, too_much, rest, repeated, nothing, reversal)]
    assert statuses == [201, 412, 201, 201, 412, 412]
    assert reversal.json()["error"]["code"] == "NOT_REVERSIBLE"
    for account in (ben, carla):
        found = (await house.get(f"/accounts/{account}")).json()["data"]
        assert found["balance"] == "0.00"


async def test_bulk_posting_has_an_outcome_for_each(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    known = str(uuid4())
    items = [
        {"id": known, "entries": moved(anna, ben, "1")},
        {"id": known, "entries": moved(anna, ben, "1")},
        {"entries": moved(anna, ben, "1000")},
        {"entries": moved(anna, str(uuid4()), "1")},
        {"group": "a", "entries": moved(anna, ben, "2")},
        {"group": "a", "entries": moved(anna, ben, "1000")},
        {"group": "b", "entries": moved(anna, ben, "3")},
    ]

    first = await house.post("/transactions/bulk", key="june", transactions=items)
    again = await house.post("/transactions/bulk", key="june", transactions=items)

    data = first.json()["data"]
    assert (data["posted"], data["replayed"], data["refused"]) == (2, 1, 4)
    outcomes = [(r["status"], r.get("error", {}).get("code")) for r in data["results"]]
    assert outcomes == [
        ("posted", None),
        ("replayed", None),
        ("refused", "INSUFFICIENT_FUNDS"),
        ("refused", "NOT_FOUND"),
        ("refused", "LINKED_REFUSED"),
        ("refused", "INSUFFICIENT_FUNDS"),
        ("posted", None),
    ]
    assert again.json()["data"]["replayed"] == 3
    assert again.json()["data"]["posted"] == 0
    account = (await house.get(f"/accounts/{ben}")).json()["data"]
    assert account["balance"] == "4.00"


async def test_an_atomic_bulk_with_one_bad_transaction_posts_none(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    items = [{"entries": moved(anna, ben, "1")} for _ in range(3)]

    bad = await house.post(
        "/transactions/bulk",
        atomic=True,
        transactions=[*items, {"entries": moved(ben, anna, "500")}],
    )
    good = await house.post("/transactions/bulk", atomic=True, transactions=items)

    assert bad.json()["data"]["refused"] == 4
    assert good.json()["data"]["posted"] == 3


async def test_owners_read_their_own_entries_and_chain_and_nobody_elses(house: CountingHouse):
    anna_id = UserId(uuid4())
    anna = await funded(house, owner_id=str(anna_id))
    ben = house.as_("customer", UserId(uuid4()))
    verifier = house.as_("user_admin", anna_id)
    owner = house.as_("customer", anna_id)

    for thing in ("entries", "chain", "statement"):
        path = f"/wallets/{anna}/{thing}"
        statuses = [(await who.get(path)).status_code for who in (owner, house, ben, verifier)]
        assert statuses == [200, 200, 404, 403], thing
    assert (await owner.get(f"/accounts/{anna}")).status_code == 403
    assert (await owner.post("/transactions", entries=moved(anna, anna, "1"))).status_code == 403


async def test_entries_are_paged_by_offset_and_by_cursor_alike(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    for amount in ("1", "2", "3", "4", "5"):
        await house.post("/transactions", entries=moved(anna, ben, amount))

    by_cursor: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await house.get(f"/wallets/{ben}/entries?limit=2{cursor}")).json()
        by_cursor += [e["amount"] for e in page["data"]]
        following = page["meta"]["next_cursor"]
        cursor = None if following is None else f"&cursor={following}"
    by_offset = [
        e["amount"]
        for offset in (0, 2, 4, 6)
        for e in (await house.get(f"/wallets/{ben}/entries?limit=2&offset={offset}")).json()["data"]
    ]

    assert by_cursor == by_offset == ["5.00", "4.00", "3.00", "2.00", "1.00"]


async def test_a_statement_adds_up(house: CountingHouse, teller: Teller):
    anna, ben = await funded(house), await house.open()
    await house.post("/transactions", entries=moved(anna, ben, "1"))
    start = await teller.now()
    for amount in ("2", "3"):
        await house.post("/transactions", entries=moved(anna, ben, amount))
    end = await teller.now()
    await house.post("/transactions", entries=moved(anna, ben, "4"))
    span = f"start_date={start:%Y-%m-%dT%H:%M:%S.%fZ}&end_date={end:%Y-%m-%dT%H:%M:%S.%fZ}"

    body = (await house.get(f"/accounts/{ben}/statement?{span}")).json()["data"]

    assert (body["opening_balance"], body["closing_balance"]) == ("1.00", "6.00")
    assert [e["amount"] for e in body["entries"]] == ["2.00", "3.00"]


async def test_the_trial_balance_is_zero_now_and_then(house: CountingHouse, teller: Teller):
    anna = await funded(house)
    then = await teller.now()
    await house.post("/transactions", entries=moved(anna, await house.open(), "7"))

    now = (await house.get("/trial-balance")).json()["data"]
    before = (await house.get(f"/trial-balance?at={then:%Y-%m-%dT%H:%M:%S.%fZ}")).json()["data"]

    for body in (now, before):
        assert body["totals"]
        assert all(total["balanced"] for total in body["totals"])
    assert now["rows"] != before["rows"]


async def test_an_account_is_frozen_for_debits_then_closed_when_empty(house: CountingHouse):
    anna, ben = await funded(house), await house.open()

    await house.post(f"/accounts/{anna}/freeze", debits_only=True)
    out = await house.post("/transactions", entries=moved(anna, ben, "1"))
    early = await house.post(f"/accounts/{anna}/close")
    await house.post(f"/accounts/{anna}/unfreeze")
    await house.post("/transactions", entries=moved(anna, ben, "100"))
    closed = await house.post(f"/accounts/{anna}/close")
    late = await house.post("/transactions", entries=moved(ben, anna, "1"))
    opened = await house.post(f"/accounts/{anna}/unfreeze")

    assert [a.status_code for a in (out, early, closed, late, opened)] == [412, 412, 200, 412, 412]
    codes = [a.json()["error"]["code"] for a in (out, early, late, opened)]
    assert codes == ["ACCOUNT_FROZEN", "ACCOUNT_NOT_EMPTY", "ACCOUNT_CLOSED", "ACCOUNT_CLOSED"]


async def test_a_floor_below_zero_allows_an_overdraft(house: CountingHouse):
    anna, ben = await funded(house, "10"), await house.open()

    set_ = await house.put(f"/accounts/{anna}/floor", floor="-5.00")
    overdrawn = await house.post("/transactions", entries=moved(anna, ben, "15"))
    more = await house.post("/transactions", entries=moved(anna, ben, "0.01"))
    raised = await house.put(f"/accounts/{anna}/floor", floor="0")

    assert set_.json()["data"]["floor"] == "-5.00"
    assert [a.status_code for a in (overdrawn, more, raised)] == [201, 412, 412]


async def test_a_control_limits_what_leaves_an_account(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    control = {
        "subject_id": anna,
        "currency": "INR",
        "direction": "outflow",
        "time_zone": "Asia/Kolkata",
        "per_day": "10",
    }

    id_ = str(uuid4())
    path = f"/controls/{id_}"
    created = await house.put(path, **control)
    within = await house.post("/transactions", entries=moved(anna, ben, "10"))
    beyond = await house.post("/transactions", entries=moved(anna, ben, "0.01"))
    zones = ("Asia/Atlantis", "localtime", "posixrules", "Factory", "right/UTC", "America")
    nowhere = [await house.put(path, **{**control, "time_zone": zone}) for zone in zones]

    assert [a.status_code for a in (created, within, beyond)] == [200, 201, 412]
    assert {a.status_code for a in nowhere} == {400}
    assert created.json()["data"] == {
        **control,
        "id": id_,
        "per_transaction": None,
        "per_day": "10.00",
        "per_month": None,
        "kinds": None,
    }
    assert beyond.json()["error"]["code"] == "LIMIT_EXCEEDED"


async def test_one_control_on_many_at_once_is_on_one_and_refused_to_the_others(
    house: CountingHouse,
):
    path = f"/controls/{uuid4()}"
    limit = {"currency": "INR", "direction": "outflow", "time_zone": "UTC", "per_day": "1"}

    done = await asyncio.gather(
        *(house.put(path, subject_id=str(uuid4()), **limit) for _ in range(8))
    )

    assert sorted(answer.status_code for answer in done) == [200] + [409] * 7
    refused = {answer.json()["error"]["code"] for answer in done if answer.status_code == 409}
    assert refused == {"CONFLICT"}


async def test_accounts_are_listed_by_filter(house: CountingHouse):
    owner = str(uuid4())
    opened = [await house.open(owner_id=owner) for _ in range(3)]

    first = (await house.get(f"/accounts?owner_id={owner}&limit=2")).json()
    second = (
        await house.get(f"/accounts?owner_id={owner}&limit=2&cursor={first['meta']['next_cursor']}")
    ).json()

    listed = [account["id"] for account in first["data"] + second["data"]]
    assert sorted(listed) == sorted(opened)
    assert second["meta"]["has_more"] is False


async def test_opening_the_same_account_twice_opens_one(house: CountingHouse):
    id_, owner = str(AccountId(uuid4())), str(uuid4())

    assert await house.open(id=id_, owner_id=owner) == id_
    assert await house.open(id=id_, owner_id=owner) == id_

    other = await house.post("/accounts", id=id_, code="else", type="asset", currency="INR")
    assert other.status_code == 409


async def test_the_routes_of_nivo_do_the_same(house: CountingHouse):
    opened = await house.post(
        "/accounts/create", code="wallet", type="liability", currency="JPY", owner_id=str(uuid4())
    )
    yen = opened.json()["data"]["id"]
    bank = await house.open("bank", type="asset", currency="JPY", floor=None)

    posted = await house.post("/entries/create", entries=moved(bank, yen, "500"))

    assert (opened.status_code, posted.status_code) == (201, 201)
    found = (await house.get(f"/accounts/{yen}")).json()["data"]
    assert (found["balance"], found["floor"]) == ("500", None)


async def test_a_balance_in_the_past_is_the_one_of_then(house: CountingHouse, teller: Teller):
    anna, ben = await funded(house), await house.open()
    then = await teller.now()
    await house.post("/transactions", entries=moved(anna, ben, "7"))

    past = await house.get(f"/accounts/{anna}/balance?at={then:%Y-%m-%dT%H:%M:%S.%fZ}")
    now = await house.get(f"/accounts/{anna}/balance")

    assert past.json()["data"]["balance"] == "100.00"
    assert now.json()["data"]["balance"] == "93.00"


async def test_a_statement_is_paged_to_its_end(house: CountingHouse):
    anna, ben = await funded(house), await house.open()
    for amount in ("1", "2", "3"):
        await house.post("/transactions", entries=moved(anna, ben, amount))

    amounts: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await house.get(f"/accounts/{ben}/statement?limit=2{cursor}")).json()
        amounts += [e["amount"] for e in page["data"]["entries"]]
        following = page["meta"]["next_cursor"]
        cursor = None if following is None else f"&cursor={following}"

    assert amounts == ["1.00", "2.00", "3.00"]


async def test_what_does_not_exist_is_not_found(house: CountingHouse):
    nothing = str(uuid4())

    answers = [
        await house.get(f"/accounts/{nothing}"),
        await house.get(f"/wallets/{nothing}/chain"),
        await house.get(f"/transactions/{nothing}"),
        await house.get(f"/transactions/{nothing}/verify"),
        await house.post(f"/transactions/{nothing}/post"),
        await house.post(f"/transactions/{nothing}/void"),
        await house.post(f"/transactions/{nothing}/reverse"),
        await house.post(f"/accounts/{nothing}/close"),
    ]

    assert [answer.status_code for answer in answers] == [404] * 8


async def test_an_edited_chain_names_where_it_was_edited(
    house: CountingHouse, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna, ben = await funded(house), await house.open()
    for amount in ("1", "2", "3"):
        posted = await house.post("/transactions", entries=moved(anna, ben, amount))
    id_ = posted.json()["data"]["id"]
    edit = "UPDATE ledger.transactions SET description = $2 WHERE id = $1"
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(edit, id_, "For something else")

    edited = await house.get(f"/wallets/{ben}/chain")

    await superuser.execute(edit, id_, "")
    await superuser.execute("RESET session_replication_role")
    whole = await house.get(f"/wallets/{ben}/chain")
    assert edited.json()["data"] == {"valid": False, "tampered_at": f"{ben}:3"}
    assert whole.json()["data"] == {"valid": True}


async def test_few_chains_are_verified_at_once_so_that_connections_are_left_for_payments(
    house: CountingHouse, superuser: asyncpg.Connection[asyncpg.Record]
):
    anna, ben = await funded(house), await house.open()
    most = CHAINS_AT_ONCE + CHAINS_WAITING

    async with superuser.transaction():
        await superuser.execute("LOCK TABLE ledger.entries IN ACCESS EXCLUSIVE MODE")
        asked = [
            asyncio.ensure_future(house.get(f"/wallets/{anna}/chain")) for _ in range(most + 1)
        ]
        first, others = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        meanwhile = await house.get(f"/accounts/{ben}")
    verified = await asyncio.gather(*others)

    (refused,) = [task.result() for task in first]
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "OVERLOADED"
    assert refused.headers["retry-after"] == "5"
    assert meanwhile.status_code == 200
    assert [answer.json()["data"] for answer in verified] == [{"valid": True}] * most
