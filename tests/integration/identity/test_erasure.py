"""People are erased: what is left of them, who is kept and why, and that it holds under load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity.api.personal_data import (
    ErasureTerms,
    LegalHold,
    MoneyRemains,
    RetainedByLaw,
)
from guilder.identity.module import ERASED_USERS, erasure_terms
from guilder.identity.service.personal_data import BEFORE_ERASED
from guilder.kernel.ids import UserId, WalletId
from guilder.platform import failpoints
from guilder.platform.db import Database
from guilder.platform.erasures import ErasureList
from guilder.platform.keys import KeyFolder
from guilder.wallets.api import WalletStatus
from tests.integration.identity.test_personal_data import everything
from tests.support.bank import Bank, deposit, opened, refusals, transfer, withdrawal
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import Townsman, customer, staff

Superuser = asyncpg.Connection

BECAUSE = {"reason": "Asked for it by letter."}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bank(db: Database) -> AsyncIterator[Bank]:
    async with opened(db) as made:
        yield made
        assert await made.verify() == []


def terms(bank: Bank, keys: KeyFolder, *, retention: timedelta = timedelta()) -> ErasureTerms:
    return erasure_terms(
        estates=bank.wallets, retention=retention, folder=keys.folder.parent / "heads"
    )


def lines(town: Town) -> dict[str, str]:
    """Who is on the list outside the database, and why."""
    listed = ErasureList(town.keys.folder.parent / "heads", name=ERASED_USERS)
    return {str(line.person_id): line.reason for line in listed.read()}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def town(
    db: Database, bank: Bank, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """A town whose people are erased as soon as they hold nothing."""
    keys = KeyFolder(tmp_path_factory.mktemp("identity") / "keys")
    keys.ensure()
    async with founded(db, keys, erasing=terms(bank, keys)) as town:
        yield town


@pytest_asyncio.fixture
async def officer(town: Town, db: Database) -> Townsman:
    return await staff(town, db, "compliance")


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def user_id(person: Townsman) -> UserId:
    return UserId(UUID(person.id))


async def erase(officer: Townsman, person: Townsman) -> httpx2.Response:
    return await officer.ask("DELETE", f"/admin/users/{person.id}", **BECAUSE)


async def status(bank: Bank, person: Townsman, wallet_id: WalletId) -> WalletStatus:
    view = await bank.wallets.view(user_id(person), wallet_id=wallet_id)
    return view.wallet.standing.status


async def test_nothing_is_left_of_somebody_but_an_id(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Anahita")
    await officer.ask("POST", f"/admin/users/{anna.id}/freeze", reason="Anahita called twice.")
    await officer.ask("POST", f"/admin/users/{anna.id}/unfreeze", reason="Anahita it was.")

    erased = data(await erase(officer, anna))

    assert (erased["id"], erased["status"]) == (anna.id, "erased")
    user = await superuser.fetchrow("SELECT * FROM identity.users WHERE id = $1", UUID(anna.id))
    assert user is not None
    assert {
        column for column, value in user.items() if value is not None and "verified" not in column
    } == {"id", "password_hash", "status", "kyc_status", "created_at", "sign_in_epoch"}
    assert user["password_hash"] == "$argon2id$"
    rows = await superuser.fetch(
        "SELECT wrapped FROM identity.person_keys WHERE user_id = $1", UUID(anna.id)
    )
    assert [row["wrapped"] for row in rows] == [None]
    for table in ("contact_digests", "devices", "remembered_devices", "verifications"):
        assert not await superuser.fetchval(
            f"SELECT count(*) FROM identity.{table} WHERE user_id = $1", UUID(anna.id)
        )
    kept = await superuser.fetch("SELECT f::text FROM identity.freezes f")
    assert "anahita" not in json.dumps([row[0] for row in kept]).lower()


async def test_jobs_that_name_somebody_erased_are_gone_and_those_of_others_are_not(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
    await superuser.execute("DELETE FROM platform.jobs")
    await superuser.execute("DELETE FROM platform.ephemeral_keys")
    for person in (anna, ben):
        data(await town.post("/auth/otp/request", email=person.email), 202)
        data(await town.post("/auth/forgot", phone=person.phone), 202)
    await superuser.execute(
        "UPDATE platform.jobs SET state = 'dead', ready_at = NULL "
        "WHERE arguments ->> 'purpose' = 'login'"
    )
    assert await superuser.fetchval("SELECT count(*) FROM platform.jobs") == 4

    data(await erase(officer, anna))

    left = await superuser.fetch("SELECT state FROM platform.jobs ORDER BY state")
    assert [row["state"] for row in left] == ["dead", "waiting"]
    assert await superuser.fetchval("SELECT count(*) FROM platform.ephemeral_keys") == 2


async def test_somebody_whose_email_nobody_could_register_any_more_is_erased(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Anna")
    # from before emails were encrypted, when such letters were taken
    await superuser.execute(
        "UPDATE identity.users SET email = 'an na@@example', email_key = 'an na@@example', "
        "phone = NULL, full_name = 'Anna', email_sealed = NULL, phone_sealed = NULL, "
        "full_name_sealed = NULL WHERE id = $1",
        UUID(anna.id),
    )

    assert data(await erase(officer, anna))["status"] == "erased"


async def test_somebody_erased_is_nobody_who_signs_in_and_their_tokens_are_over(
    town: Town, officer: Townsman
) -> None:
    anna = await customer(town, "Anna")
    stranger = error(await town.login(email="never.seen@example.com"), 401)

    data(await erase(officer, anna))

    assert (await town.me(anna.token)).status_code == 401
    refused = error(await town.login(email=anna.email), 401)
    assert {**refused, "request_id": ""} == {**stranger, "request_id": ""}
    assert error(await town.login(phone=anna.phone), 401)["code"] == stranger["code"]
    assert error(await officer.ask("GET", f"/admin/users/{anna.id}", params=BECAUSE), 404)
    found = await officer.ask("GET", "/admin/users/search", params={"email": anna.email, **BECAUSE})
    assert data(found) == []


async def test_the_same_email_and_phone_can_be_registered_anew_by_somebody_else(
    town: Town, officer: Townsman
) -> None:
    anna = await customer(town, "Anna")
    data(await erase(officer, anna))

    again = data(await town.register("Anna", str(anna.phone), email=anna.email), 201)

    assert again["id"] != anna.id
    assert data(await town.login(email=anna.email))["user"]["id"] == again["id"]


async def test_a_copy_of_the_row_opens_no_more_and_the_key_comes_back_by_no_update(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Anna")
    key = await superuser.fetchrow(
        "SELECT * FROM identity.person_keys WHERE user_id = $1", UUID(anna.id)
    )
    data(await erase(officer, anna))

    assert key is not None
    with pytest.raises(asyncpg.RestrictViolationError):
        await superuser.execute(
            "UPDATE identity.person_keys SET wrapped = $2, destroyed_at = NULL WHERE user_id = $1",
            UUID(anna.id),
            key["wrapped"],
        )
    with pytest.raises(asyncpg.RestrictViolationError):
        await superuser.execute("DELETE FROM identity.person_keys WHERE user_id = $1", anna.id)


async def test_others_are_told_and_the_event_says_who_did_it_and_why(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Anna")

    erased = data(await erase(officer, anna))

    rows = await superuser.fetch(
        "SELECT type, data, actor_id FROM platform.outbox WHERE key = $1 ORDER BY position", anna.id
    )
    types = [row["type"].removeprefix("com.guilder.") for row in rows]
    assert types[-2:] == ["user.sessions_ended", "user.erased"]
    told = json.loads(rows[-1]["data"])
    assert told == {
        "user_id": anna.id,
        "by": officer.id,
        "reason": BECAUSE["reason"],
        "erased_at": erased["erased_at"],
    }


async def test_what_they_hold_is_closed_with_them(
    town: Town, officer: Townsman, bank: Bank
) -> None:
    anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
    empty, emptied = [await bank.open(user_id(anna), funds_minor=funds) for funds in (0, 500)]
    bens = await bank.open(user_id(ben), funds_minor=500)
    await bank.engine.pay(transfer(user_id(anna), emptied, bens, amount_minor=500))

    data(await erase(officer, anna))
    late = await bank.engine.pay(transfer(user_id(ben), bens, emptied))

    assert {await status(bank, anna, one) for one in (empty, emptied)} == {WalletStatus.CLOSED}
    assert refusals([late]) == ["ACCOUNT_CLOSED"]


async def test_nobody_is_erased_who_has_money_and_nothing_has_changed(
    town: Town, officer: Townsman, bank: Bank
) -> None:
    anna = await customer(town, "Anna")
    empty = await bank.open(user_id(anna))
    full = await bank.open(user_id(anna), funds_minor=1)

    refused = error(await erase(officer, anna), 409)

    assert refused["code"] == MoneyRemains.code
    assert {await status(bank, anna, one) for one in (empty, full)} == {WalletStatus.ACTIVE}
    assert data(await town.me(anna.token))["email"] == anna.email
    data(await town.login(email=anna.email))


async def test_nobody_is_erased_whose_last_payment_is_recent(
    town: Town, db: Database, bank: Bank, officer: Townsman
) -> None:
    anna, never_paid = await customer(town, "Anna"), await customer(town, "Nina")
    wallet = await bank.open(user_id(anna), funds_minor=500)
    await bank.engine.pay(withdrawal(user_id(anna), wallet, amount_minor=500))
    await bank.open(user_id(never_paid))

    term = timedelta(days=30)
    strictly = terms(bank, town.keys, retention=term)
    async with founded(db, town.keys, erasing=strictly) as strict:
        path = f"/api/v1/admin/users/{anna.id}"
        headers = {"Authorization": f"Bearer {officer.token}"}
        refused = await strict.http.request("DELETE", path, json=BECAUSE, headers=headers)
        path = f"/api/v1/admin/users/{never_paid.id}"
        allowed = await strict.http.request("DELETE", path, json=BECAUSE, headers=headers)

    found = error(refused, 409)
    assert found["code"] == RetainedByLaw.code
    until = datetime.fromisoformat(found["details"]["until"])
    assert timedelta(days=29) < until - datetime.now(UTC) <= term
    assert await status(bank, anna, wallet) is WalletStatus.ACTIVE
    data(allowed)


async def test_a_legal_hold_keeps_somebody_until_it_is_lifted(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Anna")
    path = f"/admin/users/{anna.id}/legal-hold"
    assert data(await officer.ask("GET", path)) == {"legal_hold": None}

    placed = data(await officer.ask("PUT", path, reason="Order 17"))["legal_hold"]
    again = data(await officer.ask("PUT", path, reason="Order 18"))["legal_hold"]
    refused = error(await erase(officer, anna), 409)
    seen = data(await officer.ask("GET", path))["legal_hold"]
    lifted = [data(await officer.ask("DELETE", path, reason="It ended.")) for _ in range(2)]
    data(await erase(officer, anna))

    assert (placed["reason"], placed["placed_by"]) == ("Order 17", officer.id)
    assert placed == again == seen
    assert refused["code"] == LegalHold.code
    assert lifted == [{"legal_hold": None}] * 2
    told = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 AND type LIKE '%legal_hold%' "
        "ORDER BY position",
        anna.id,
    )
    assert [row["type"].rpartition("_")[2] for row in told] == ["placed", "lifted"]
    assert error(await officer.ask("PUT", path, reason="Too late"), 404)
    assert error(await officer.ask("GET", path), 404)


async def test_nobody_decides_on_a_hold_on_themselves(
    town: Town, db: Database, officer: Townsman
) -> None:
    ben = await staff(town, db, "compliance")
    path = f"/admin/users/{ben.id}/legal-hold"
    placed = data(await officer.ask("PUT", path, reason="Order 17"))

    for method in ("PUT", "DELETE"):
        assert error(await ben.ask(method, path, reason="A mistake."), 403)["code"] == "FORBIDDEN"

    assert data(await officer.ask("GET", path)) == placed


async def test_staff_are_not_erased_before_their_role_is_taken(
    town: Town, db: Database, officer: Townsman
) -> None:
    ben, admin = await staff(town, db, "support"), await staff(town, db, "admin", name="Ada")

    assert error(await erase(officer, ben), 409)["code"] == "STILL_STAFF"
    data(
        await admin.ask("PATCH", f"/admin/users/{ben.id}/role", role="customer", reason="Left us.")
    )
    data(await erase(officer, ben))


@pytest.mark.parametrize(
    ("method", "suffix"), [("DELETE", ""), ("PUT", "/legal-hold"), ("DELETE", "/legal-hold")]
)
@pytest.mark.parametrize("role", ["support", "operations", None])
async def test_only_compliance_and_administrators_erase_and_hold(
    method: str, suffix: str, role: str | None, town: Town, db: Database
) -> None:
    anna = await customer(town, "Anna")
    caller = anna if role is None else await staff(town, db, role)

    answer = await caller.ask(method, f"/admin/users/{anna.id}{suffix}", **BECAUSE)

    assert error(answer, 403)


@pytest.mark.parametrize("reason", ["", " ", "x" * 121, "a\u202eb", None, 7])
async def test_every_erasure_needs_a_reason(reason: Any, town: Town, officer: Townsman) -> None:
    anna = await customer(town, "Anna")

    answer = await officer.ask("DELETE", f"/admin/users/{anna.id}", reason=reason)

    assert error(answer, 400)
    data(await town.login(email=anna.email))


async def test_nobody_is_erased_whom_there_never_was(officer: Townsman) -> None:
    for unknown in (uuid4(), "nobody"):
        assert error(await officer.ask("DELETE", f"/admin/users/{unknown}", **BECAUSE), 404)


async def test_repeating_an_erasure_gives_the_same_answer(town: Town, officer: Townsman) -> None:
    anna = await customer(town, "Anna")

    answers = await asyncio.gather(*(erase(officer, anna) for _ in range(5)))

    assert len({json.dumps(data(answer)) for answer in answers}) == 1


async def test_an_answer_that_was_lost_does_no_harm(
    town: Town, bank: Bank, officer: Townsman, forgetful: ForgetfulDatabase, superuser: Superuser
) -> None:
    anna = await customer(town, "Anna")
    async with founded(forgetful, town.keys, erasing=terms(bank, town.keys)) as shaky:
        path = f"/api/v1/admin/users/{anna.id}"
        headers = {"Authorization": f"Bearer {officer.token}"}
        data(await shaky.http.request("DELETE", path, json=BECAUSE, headers=headers))

    events = await superuser.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE key = $1 AND type = 'com.guilder.user.erased'",
        anna.id,
    )
    assert events == 1


async def test_an_erasure_that_fails_at_the_end_has_erased_nothing(
    town: Town, officer: Townsman, bank: Bank
) -> None:
    anna = await customer(town, "Anna")
    wallet = await bank.open(user_id(anna))
    failpoints.arm(f"{BEFORE_ERASED}=hit:1:raise")

    assert error(await erase(officer, anna), 500)

    assert await status(bank, anna, wallet) is WalletStatus.ACTIVE
    assert data(await town.me(anna.token))["email"] == anna.email
    data(await erase(officer, anna))


async def test_money_that_comes_at_the_same_moment_is_refused_or_keeps_them(
    town: Town, officer: Townsman, bank: Bank
) -> None:
    kept = erased = 0
    for _ in range(6):
        anna = await customer(town, "Anna")
        wallet = await bank.open(user_id(anna))

        paid, answer = await asyncio.gather(
            bank.engine.pay(deposit(user_id(anna), wallet)), erase(officer, anna)
        )

        if answer.status_code == 200:
            erased += 1
            assert refusals([paid]) == ["ACCOUNT_CLOSED"]
            assert await bank.balances((user_id(anna), wallet)) == [0]
        else:
            kept += 1
            assert error(answer, 409)["code"] == MoneyRemains.code
            assert paid.refusal is None
            assert data(await town.me(anna.token))["email"] == anna.email
    assert kept + erased == 6


async def test_signing_in_at_the_same_moment_leaves_no_session(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    for _ in range(4):
        anna = await customer(town, "Anna")

        answers = await asyncio.gather(
            *(town.login(email=anna.email) for _ in range(4)), erase(officer, anna)
        )

        tokens = [answer.json()["data"]["token"] for answer in answers[:-1] if answer.is_success]
        data(answers[-1])
        assert [(await town.me(token)).status_code for token in tokens] == [401] * len(tokens)
        assert not await superuser.fetchval(
            "SELECT count(*) FROM identity.sessions WHERE account_id = $1", UUID(anna.id)
        )


async def test_what_is_known_of_oneself_can_be_taken_away(town: Town, superuser: Superuser) -> None:
    anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
    data(await town.login(email=anna.email, remember_device=True))
    for person in (anna, ben):
        await superuser.execute(
            "INSERT INTO identity.outside_identities (provider, subject_key, user_id, linked_by) "
            "VALUES ('google', gen_random_uuid(), $1, 'user')",
            UUID(person.id),
        )

    answer = await anna.ask("GET", "/auth/me/export")

    mine = data(answer)
    assert "my-data.json" in answer.headers["Content-Disposition"]
    assert (mine["id"], mine["email"], mine["phone"]) == (anna.id, anna.email, anna.phone)
    assert mine["full_name"] == "Anna Rao"
    assert {role["role"] for role in mine["roles"]} == {"customer", "user_admin"}
    assert [(one["kind"], one["name"]) for one in mine["ways_in"]] == [
        ("remembered_device", None),
        ("provider", "google"),
    ]
    assert len(mine["sessions"]) == 2
    assert "python-httpx" in mine["sessions"][0]["user_agent"]
    assert error(await town.http.get("/api/v1/auth/me/export"), 401)


async def test_a_dump_after_an_erasure_names_nobody(
    town: Town, officer: Townsman, superuser: Superuser
) -> None:
    anna = await customer(town, "Zarathustra")
    data(await town.login(email=anna.email))
    data(await erase(officer, anna))

    dump = (await everything(superuser)).lower()

    assert "zarathustra" not in dump
    assert str(anna.phone) not in dump
