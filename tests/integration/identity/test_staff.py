"""Staff find users, freeze them and let them in again; each with a reason that is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from guilder.identity.module import build_staff
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import Townsman, colleague, customer, staff

Superuser = asyncpg.Connection
STOLEN = "The owner reported a stolen phone."
FOUND = "The phone was found."
WHY = {"reason": "She called about a payment."}


async def freeze(by: Townsman, whom: str, reason: str = STOLEN) -> Any:
    return await by.ask("POST", f"/admin/users/{whom}/freeze", reason=reason)


async def unfreeze(by: Townsman, whom: str, reason: str = FOUND) -> Any:
    return await by.ask("POST", f"/admin/users/{whom}/unfreeze", reason=reason)


async def told(superuser: Superuser, user_id: str) -> list[Any]:
    rows = await superuser.fetch(
        "SELECT type, actor_id::text AS actor, data::text AS data FROM platform.outbox "
        "WHERE key = $1 AND type LIKE 'com.guilder.user.%frozen' ORDER BY transaction, position",
        user_id,
    )
    return [dict(row) for row in rows]


async def test_a_frozen_user_is_out_on_the_next_request_and_cannot_sign_in(
    town: Town, db: Database
) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)
    portal = data(await town.login(email=anna.email, account_type="user_admin"))["token"]
    refresh = data(await town.login(email=anna.email))["refresh_token"]

    frozen = data(await freeze(guard, anna.id))

    assert frozen["status"] == "frozen"
    for token in (anna.token, portal):
        assert error(await town.me(token), 401)["code"] == "UNAUTHORIZED"
    assert (await town.post("/auth/refresh", refresh_token=refresh)).status_code in {401, 403}
    assert error(await town.login(email=anna.email), 403)["code"] == "USER_FROZEN"
    wrong = await town.login(email=anna.email, password="AnotherPass123")
    assert error(wrong, 401)["code"] == "UNAUTHORIZED"


async def test_an_unfrozen_user_signs_in_and_old_tokens_stay_out(town: Town, db: Database) -> None:
    guard, anna = await staff(town, db, "compliance"), await customer(town)
    before = data(await guard.ask("GET", f"/admin/users/{anna.id}", params=WHY))["status"]
    data(await freeze(guard, anna.id))

    after = data(await unfreeze(guard, anna.id))

    assert after["status"] == before
    assert error(await town.me(anna.token), 401)["code"] == "UNAUTHORIZED"
    assert data(await town.me(data(await town.login(email=anna.email))["token"]))["id"] == anna.id


async def test_whoever_is_frozen_may_do_nothing_by_any_role(town: Town, db: Database) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)
    query = {"permission": "payments:write", "user_id": anna.id}
    before = data(await guard.ask("GET", "/rbac/check", params=query))["allowed"]

    data(await freeze(guard, anna.id))
    after = data(await guard.ask("GET", "/rbac/check", params=query))["allowed"]

    assert (before, after) == (True, False)


async def test_staff_see_every_freeze_with_who_and_why(
    town: Town, db: Database, superuser: Superuser
) -> None:
    guard, other, anna = (
        await staff(town, db, "operations"),
        await staff(town, db, "compliance"),
        await customer(town),
    )
    for act in (freeze, freeze, unfreeze, unfreeze):
        data(await act(guard, anna.id))
    data(await freeze(other, anna.id, "Again."))

    shown = data(await guard.ask("GET", f"/admin/users/{anna.id}", params=WHY))["freezes"]

    assert [(one["reason"], one["frozen_by"], one["unfrozen_by"]) for one in shown] == [
        ("Again.", other.id, None),
        (STOLEN, guard.id, guard.id),
    ]
    assert shown[1]["unfreeze_reason"] == FOUND
    events = await told(superuser, anna.id)
    assert [(one["type"].rpartition(".")[2], one["actor"]) for one in events] == [
        ("frozen", guard.id),
        ("unfrozen", guard.id),
        ("frozen", other.id),
    ]
    for event, reason in zip(events, (STOLEN, FOUND, "Again."), strict=True):
        assert reason in event["data"]


async def test_somebody_with_more_power_is_not_frozen_by_somebody_with_less(
    town: Town, db: Database
) -> None:
    chief, guard = await staff(town, db, "admin"), await staff(town, db, "compliance")
    peer = await staff(town, db, "compliance")

    assert error(await freeze(guard, chief.id), 403)["code"] == "FORBIDDEN"
    assert data(await freeze(guard, peer.id))["status"] == "frozen"
    assert data(await freeze(chief, guard.id))["status"] == "frozen"
    assert error(await unfreeze(guard, peer.id), 401)["code"] == "UNAUTHORIZED"


async def test_nobody_freezes_themselves(town: Town, db: Database) -> None:
    guard = await staff(town, db, "compliance")

    assert error(await freeze(guard, guard.id), 403)["code"] == "FORBIDDEN"

    assert data(await town.me(guard.token))["status"] != "frozen"


async def test_freezing_and_unfreezing_at_once_end_in_what_was_told_last(
    town: Town, db: Database, superuser: Superuser
) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)

    for answer in await asyncio.gather(
        *(act(guard, anna.id) for _ in range(6) for act in (freeze, unfreeze))
    ):
        data(answer)

    last = (await told(superuser, anna.id))[-1]["type"]
    status = data(await guard.ask("GET", f"/admin/users/{anna.id}", params=WHY))["status"]
    login = await town.login(email=anna.email)
    assert (status == "frozen") == (last == "com.guilder.user.frozen")
    assert login.status_code == (403 if status == "frozen" else 200)


async def test_sign_ins_that_race_with_a_freeze_leave_nobody_signed_in(
    town: Town, db: Database
) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)

    *logins, frozen = await asyncio.gather(
        *(town.login(email=anna.email) for _ in range(5)), freeze(guard, anna.id)
    )

    tokens = [data(login)["token"] for login in logins if login.status_code == 200]
    refreshes = [data(login)["refresh_token"] for login in logins if login.status_code == 200]
    assert frozen.status_code == 200
    assert [(await town.me(token)).status_code for token in tokens] == [401] * len(tokens)
    for refresh in refreshes:
        assert (await town.post("/auth/refresh", refresh_token=refresh)).status_code in {401, 403}


async def test_users_are_found_by_the_whole_of_what_is_known_of_them(
    town: Town, db: Database
) -> None:
    helper, anna = await staff(town, db, "support"), await customer(town)

    found = [
        data(await helper.ask("GET", "/admin/users/search", params={**WHY, **query}))
        for query in (
            {"id": anna.id},
            {"email": anna.email},
            {"email": anna.email.upper()},
            {"phone": anna.phone},
        )
    ]

    assert [[one["id"] for one in each] for each in found] == [[anna.id]] * 4
    assert found[0][0]["email"] == anna.email
    assert found[0][0]["roles"] == ["customer"]


@pytest.mark.parametrize(
    "query",
    [
        {"email": "nobody@example.com"},
        {"phone": "+919800000001"},
        {"id": "0193a3a0-0000-7000-8000-000000000001"},
    ],
)
async def test_whoever_is_unknown_is_not_found(
    town: Town, db: Database, query: dict[str, str]
) -> None:
    helper = await staff(town, db, "support")

    assert data(await helper.ask("GET", "/admin/users/search", params={**WHY, **query})) == []


async def test_whoever_looks_for_somebody_is_recorded(
    town: Town, db: Database, superuser: Superuser
) -> None:
    helper, anna = await staff(town, db, "support"), await customer(town)
    data(await helper.ask("GET", "/admin/users/search", params={"email": anna.email, **WHY}))
    data(await helper.ask("GET", f"/admin/users/{anna.id}", params=WHY))
    data(await helper.ask("GET", "/admin/users/search", params={"phone": "+919876500199", **WHY}))

    rows = await superuser.fetch(
        "SELECT key, actor_id::text AS actor, data::text AS data FROM platform.outbox "
        "WHERE type = 'com.guilder.user.looked_up' AND actor_id = $1 "
        "ORDER BY transaction, position",
        UUID(helper.id),
    )
    facts = [json.loads(row["data"]) for row in rows]
    assert [row["key"] for row in rows] == [anna.id, anna.id, helper.id]
    assert [fact["named_by"] for fact in facts] == ["email", "id", "phone"]
    assert [fact["user_id"] for fact in facts] == [anna.id, anna.id, None]
    assert [fact["personal"] for fact in facts] == [WHY, WHY, WHY]
    assert {fact["by"] for fact in facts} == {helper.id}
    assert anna.email not in str(facts)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({}, "id"),
        ({"email": "anna@example.com", "phone": "+919876500100"}, "id"),
        ({"email": "anna@"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"id": "anna"}, "id"),
        ({"name": "Anna"}, "name"),
        ({"email": "%"}, "email"),
    ],
)
async def test_a_search_by_parts_or_by_several_things_is_refused(
    town: Town, db: Database, query: dict[str, str], field: str
) -> None:
    helper = await staff(town, db, "support")

    refused = error(await helper.ask("GET", "/admin/users/search", params={**WHY, **query}), 400)

    assert list(refused["details"]["fields"]) == [field]


async def test_nobody_looks_at_anybody_without_a_reason(town: Town, db: Database) -> None:
    helper, anna = await staff(town, db, "support"), await customer(town)

    for path, query in (
        ("/admin/users/search", {"email": anna.email}),
        (f"/admin/users/{anna.id}", {}),
    ):
        refused = error(await helper.ask("GET", path, params=query), 400)
        assert list(refused["details"]["fields"]) == ["reason"]


async def test_the_portal_account_of_a_user_is_no_user_of_its_own(town: Town, db: Database) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)
    portal = data(await town.login(email=anna.email, account_type="user_admin"))["user"]["id"]

    assert data(await guard.ask("GET", "/admin/users/search", params={"id": portal, **WHY})) == []
    for answer in (
        await guard.ask("GET", f"/admin/users/{portal}", params=WHY),
        await freeze(guard, portal),
        await unfreeze(guard, portal),
        await freeze(guard, str(new_id())),
        await freeze(guard, "not-an-id"),
    ):
        assert error(answer, 404)["code"] == "NOT_FOUND"


async def test_a_staff_role_replaces_the_one_before_and_customer_means_none(
    town: Town, db: Database
) -> None:
    chief, anna = await staff(town, db, "admin"), await colleague(town, db)
    path = f"/admin/users/{anna.id}/role"

    given = [
        data(await chief.ask("PATCH", path, role=role, reason="It was agreed."))["roles"]
        for role in ("support", "compliance", "customer")
    ]

    assert given == [["customer", "support"], ["compliance", "customer"], ["customer"]]


@pytest.mark.parametrize("reason", [None, "", " ", "x" * 121, "one\ntwo", "a\u202eb", 7])
async def test_an_act_without_a_plain_reason_is_refused(
    town: Town, db: Database, reason: Any
) -> None:
    guard, anna = await staff(town, db, "operations"), await customer(town)
    body = {} if reason is None else {"reason": reason}
    extra = {"reason": STOLEN, "status": "active"}

    for path in ("freeze", "unfreeze"):
        sent = body or {"unknown": 1}
        answer = await guard.ask("POST", f"/admin/users/{anna.id}/{path}", **sent)
        assert error(answer, 400)["code"] == "VALIDATION_ERROR"
    assert error(await guard.ask("POST", f"/admin/users/{anna.id}/freeze", **extra), 400)
    assert await anna.may("wallets:read")


async def test_a_lost_answer_to_a_commit_freezes_once(
    forgetful: ForgetfulDatabase, superuser: Superuser, town: Town
) -> None:
    async with founded(forgetful, town.keys) as shaky:
        guard, anna = await staff(shaky, forgetful, "operations"), await customer(shaky)

        first = data(await freeze(guard, anna.id))
        second = data(await unfreeze(guard, anna.id))

        assert (first["status"], len(first["freezes"])) == ("frozen", 1)
        assert (second["status"], len(second["freezes"])) == ("pending", 1)
    assert len(await told(superuser, anna.id)) == 2


async def test_an_appointment_by_the_command_line_reaches_tokens_that_are_out(
    town: Town, db: Database
) -> None:
    helper = await staff(town, db, "support")
    office = build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    before = await helper.may("roles:write")

    await office.appoint(email=helper.email, role="admin")

    assert not before
    assert await helper.may("roles:write")
