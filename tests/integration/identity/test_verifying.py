"""Verifications over HTTP, on a real database: codes shown in the portal, entered in the app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.identity.api.verifications import (
    Asked,
    InvalidVerificationToken,
    Operation,
    Spending,
    TooManyVerifications,
    VerificationExpired,
    Verifications,
    token_digest,
)
from guilder.identity.service.code_stores import DatabaseCodes
from guilder.identity.service.verifications import Verifying
from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import Resident, other_than, settle
from tests.support.town import ForgetfulDatabase, Town, data, error

Superuser = asyncpg.Connection

TO_BEN = {"to": "Ben", "amount": "60000.00"}
STATUS = "SELECT status FROM identity.verifications WHERE id = $1"
SET_BACK = "UPDATE identity.verifications SET expires_at = expires_at - $2::interval WHERE id = $1"


@pytest.fixture
def verifications(db: Database, town: Town) -> Verifications:
    return module.build_verifications(db=db, contacts=OuterKeys(town.keys.folder))


@pytest_asyncio.fixture
async def anna(town: Town) -> AsyncIterator[Resident]:
    yield await settle(town, "Anna")


def transfer(account_id: UserId, **parameters: str) -> Asked:
    return Asked(
        account_id=account_id,
        operation=Operation.HIGH_VALUE_TRANSFER,
        parameters=parameters or TO_BEN,
        shown=parameters or TO_BEN,
    )


async def begun(verifications: Verifications, anna: Resident, **parameters: str) -> str:
    needed = await verifications.demand(transfer(anna.id, **parameters))
    return str(needed.verification_id)


async def enter(anna: Resident, verification_id: str, code: str) -> Any:
    return await anna.app.post(f"/verifications/{verification_id}/verify", otp=code)


async def spend(
    db: Database, anna: Resident, given: str, *, used_by: UUID | None = None, **changes: Any
) -> object:
    """What the token says to one attempt at the operation it was made for, but for ``changes``."""
    usual = {
        "account_id": anna.id,
        "operation": Operation.HIGH_VALUE_TRANSFER,
        "parameters": TO_BEN,
        "used_by": used_by or uuid4(),
    }
    spending = Spending(**{"token": token_digest(given), **usual, **changes})
    tokens = module.build_verification_tokens()
    verdicts = await db.run(lambda tx: tokens.spend(tx, [spending]))
    return verdicts[spending.used_by]


async def test_the_portal_shows_what_waits_with_its_code(
    verifications: Verifications, anna: Resident
) -> None:
    verification_id = await begun(verifications, anna)

    (waiting,) = await anna.pending()

    assert set(waiting) == {
        "id",
        "operation_type",
        "otp",
        "status",
        "expires_at",
        "created_at",
        "details",
    }
    assert waiting["id"] == verification_id
    assert (waiting["operation_type"], waiting["status"]) == ("high_value_transfer", "pending")
    assert waiting["details"] == TO_BEN
    assert len(waiting["otp"]) == 6
    assert waiting["otp"].isdigit()


async def test_right_code_gives_a_token_that_is_spent_once(
    verifications: Verifications, anna: Resident, db: Database
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)

    proof = data(await enter(anna, verification_id, code))

    assert proof["verified"] is True
    token = proof["token"]["token"]
    assert token.startswith("ver_")
    assert await spend(db, anna, token) is None
    assert isinstance(await spend(db, anna, token), InvalidVerificationToken)
    assert await anna.pending() == []


async def test_repeating_the_right_code_answers_the_same_token(
    verifications: Verifications, anna: Resident
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)

    answers = await asyncio.gather(*(enter(anna, verification_id, code) for _ in range(5)))

    assert len({data(answer)["token"]["token"] for answer in answers}) == 1


async def test_asking_again_for_the_same_answers_the_same_verification(
    verifications: Verifications, anna: Resident
) -> None:
    ids = await asyncio.gather(*(begun(verifications, anna) for _ in range(10)))
    other = await begun(verifications, anna, to="Ben", amount="60000.01")

    assert len(set(ids)) == 1
    assert other not in ids
    assert len(await anna.pending()) == 2


async def test_five_wrong_codes_end_it_though_they_come_at_once(
    verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)

    answers = await asyncio.gather(
        *(enter(anna, verification_id, other_than(code)) for _ in range(20))
    )

    codes = sorted(answer.json()["error"]["code"] for answer in answers)
    assert codes == ["INVALID_OTP"] * 5 + ["VERIFICATION_EXPIRED"] * 15
    assert {answer.status_code for answer in answers} == {400, 410}
    ended = error(await enter(anna, verification_id, code), 410)
    assert (ended["code"], ended["details"]) == ("VERIFICATION_EXPIRED", {"status": "exhausted"})
    assert await superuser.fetchval(STATUS, UUID(verification_id)) == "exhausted"


async def test_wrong_code_says_how_often_it_may_be_wrong(
    verifications: Verifications, anna: Resident
) -> None:
    verification_id = await begun(verifications, anna)
    wrong = other_than(await anna.code_of(verification_id))

    refusals = [error(await enter(anna, verification_id, wrong), 400) for _ in range(2)]

    assert [refusal["code"] for refusal in refusals] == ["INVALID_OTP"] * 2
    assert [refusal["details"]["tries_left"] for refusal in refusals] == [4, 3]


async def test_guessing_at_a_verified_one_costs_its_token(
    verifications: Verifications, anna: Resident, db: Database
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)
    token = data(await enter(anna, verification_id, code))["token"]["token"]

    for _ in range(5):
        error(await enter(anna, verification_id, other_than(code)), 400)

    assert isinstance(await spend(db, anna, token), InvalidVerificationToken)


@pytest.mark.parametrize(
    "otp",
    ["", "12345", "1234567", "12345a", "\uff11\uff12\uff13\uff14\uff15\uff16", "12345\n", 123456],
)
async def test_what_is_no_code_is_refused_and_not_counted(
    otp: object, verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    verification_id = await begun(verifications, anna)

    answer = await anna.app.post(f"/verifications/{verification_id}/verify", otp=otp)

    assert error(answer, 400)["code"] == "VALIDATION_ERROR"
    tries = "SELECT tries FROM identity.verifications WHERE id = $1"
    assert await superuser.fetchval(tries, UUID(verification_id)) == 0


async def test_code_is_refused_after_its_time(
    verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)
    await superuser.execute(SET_BACK, UUID(verification_id), timedelta(minutes=5))

    refusal = error(await enter(anna, verification_id, code), 410)

    assert (refusal["code"], refusal["details"]) == ("VERIFICATION_EXPIRED", {"status": "expired"})
    assert await anna.pending() == []


async def test_token_is_refused_after_its_time_and_marked(
    verifications: Verifications, anna: Resident, superuser: Superuser, db: Database
) -> None:
    verification_id = await begun(verifications, anna)
    token = await anna.confirm(verification_id)
    await superuser.execute(SET_BACK, UUID(verification_id), timedelta(minutes=5))

    first, again = await spend(db, anna, token), await spend(db, anna, token)

    assert isinstance(first, VerificationExpired)
    assert isinstance(again, VerificationExpired)
    assert await superuser.fetchval(STATUS, UUID(verification_id)) == "expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": Operation.BENEFICIARY_ADD},
        {"parameters": {**TO_BEN, "amount": "60000.01"}},
        {"parameters": {"to": "Cara", "amount": "60000.00"}},
        {"parameters": {**TO_BEN, "more": ""}},
        {"account_id": UserId(uuid4())},
        {"token": token_digest("ver_made_up")},
    ],
)
async def test_token_allows_nothing_but_what_was_verified(
    changes: dict[str, Any], verifications: Verifications, anna: Resident, db: Database
) -> None:
    token = await anna.confirm(await begun(verifications, anna))

    refusal = await spend(db, anna, token, **changes)

    assert isinstance(refusal, InvalidVerificationToken)
    assert await spend(db, anna, token) is None


async def test_one_of_twenty_attempts_at_once_has_the_token(
    verifications: Verifications, anna: Resident, db: Database
) -> None:
    token = await anna.confirm(await begun(verifications, anna))

    verdicts = await asyncio.gather(*(spend(db, anna, token) for _ in range(20)))

    assert len([verdict for verdict in verdicts if verdict is None]) == 1
    assert {type(verdict) for verdict in verdicts} == {type(None), InvalidVerificationToken}


async def test_attempt_whose_answer_was_lost_may_go_on(
    verifications: Verifications, anna: Resident, db: Database
) -> None:
    token = await anna.confirm(await begun(verifications, anna))
    attempt = uuid4()

    verdicts = [await spend(db, anna, token, used_by=attempt) for _ in range(2)]

    assert verdicts == [None, None]


@pytest.mark.parametrize("by", ["app", "portal"])
async def test_cancelled_one_takes_neither_code_nor_token(
    by: str, verifications: Verifications, anna: Resident, db: Database
) -> None:
    pending, verified = [await begun(verifications, anna, to=name) for name in ("Ben", "Cara")]
    code, token = await anna.code_of(pending), await anna.confirm(verified)
    account = getattr(anna, by)

    for verification_id in (pending, verified, verified):
        data(await account.post(f"/verifications/{verification_id}/cancel"))

    refusal = error(await enter(anna, pending, code), 410)
    assert refusal["details"] == {"status": "cancelled"}
    spent = await spend(db, anna, token, parameters={"to": "Cara"})
    assert isinstance(spent, InvalidVerificationToken)
    assert await anna.pending() == []


async def test_used_one_cannot_be_cancelled(
    verifications: Verifications, anna: Resident, db: Database
) -> None:
    verification_id = await begun(verifications, anna)
    await spend(db, anna, await anna.confirm(verification_id))

    refusal = error(await anna.app.post(f"/verifications/{verification_id}/cancel"), 410)

    assert refusal["details"] == {"status": "used"}


async def test_one_whose_code_was_lost_is_over_and_asking_again_begins_another(
    verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    lost, tried = [await begun(verifications, anna, to=name) for name in ("Ben", "Cara")]
    code = await anna.code_of(tried)
    # as Redis does that starts again
    await superuser.execute("DELETE FROM identity.one_time_codes")

    ended = error(await enter(anna, tried, code), 410)
    again = await begun(verifications, anna, to="Ben")

    assert (ended["code"], ended["details"]) == ("VERIFICATION_EXPIRED", {"status": "expired"})
    assert [await superuser.fetchval(STATUS, UUID(id_)) for id_ in (lost, tried)] == ["expired"] * 2
    assert again != lost
    assert await anna.confirm(again)


async def test_nobody_reaches_the_verifications_of_others(
    verifications: Verifications, anna: Resident, town: Town
) -> None:
    ben = await settle(town, "Ben")
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)

    assert await ben.pending() == []
    for account in (ben.app, ben.portal):
        verify = await account.post(f"/verifications/{verification_id}/verify", otp=code)
        cancel = await account.post(f"/verifications/{verification_id}/cancel")
        assert error(verify, 404)["code"] == error(cancel, 404)["code"] == "NOT_FOUND"
    data(await enter(anna, verification_id, code))


async def test_the_portal_cannot_enter_codes_nor_the_app_see_them(
    verifications: Verifications, anna: Resident
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)

    by_portal = await anna.portal.post(f"/verifications/{verification_id}/verify", otp=code)
    seen = await anna.app.get("/verifications/pending")

    assert error(by_portal, 404)["code"] == "NOT_FOUND"
    assert error(seen, 403)["code"] == "FORBIDDEN"


async def test_unknown_and_malformed_ids_are_not_found(anna: Resident) -> None:
    for verification_id in (str(uuid4()), "ver_abc123def456"):
        answer = await enter(anna, verification_id, "123456")
        assert error(answer, 404)["code"] == "NOT_FOUND"


async def test_accounts_that_cannot_act_begin_nothing(
    verifications: Verifications, anna: Resident, town: Town
) -> None:
    portal_id = (await town.verifier.verify(anna.portal.token)).user_id

    for account_id in (portal_id, UserId(uuid4())):
        with pytest.raises(NotPermitted):
            await verifications.demand(transfer(account_id))


async def test_whoever_completes_none_has_to_wait(
    verifications: Verifications, anna: Resident
) -> None:
    for number in range(20):
        await begun(verifications, anna, to=str(number))

    with pytest.raises(TooManyVerifications) as refused:
        await begun(verifications, anna, to="Ben")

    assert 3500 < refused.value.details["retry_after_s"] <= 3600
    assert len(await anna.pending()) == 20


async def test_codes_are_guessed_a_hundred_times_a_day_and_not_in_every_hour(
    verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    earlier = """
        UPDATE identity.verifications SET created_at = created_at - $2::interval, tries = 5,
            status = 'exhausted', ended_at = clock_timestamp()
        WHERE user_id = $1
    """
    for number in range(19):
        await begun(verifications, anna, to=str(number))
    await superuser.execute(earlier, anna.id, timedelta(hours=2))
    last = await begun(verifications, anna)
    right = await anna.code_of(last)
    for _ in range(5):
        assert error(await enter(anna, last, other_than(right)), 400)["code"] == "INVALID_OTP"

    with pytest.raises(TooManyVerifications) as refused:
        await begun(verifications, anna)
    assert 21 * 3600 < refused.value.details["retry_after_s"] <= 22 * 3600
    await superuser.execute(earlier, anna.id, timedelta(hours=22))
    assert await begun(verifications, anna)


async def test_database_holds_no_code_in_clear_and_none_once_it_was_right(
    verifications: Verifications, anna: Resident, superuser: Superuser
) -> None:
    verification_id = await begun(verifications, anna)
    code = await anna.code_of(verification_id)
    row = "SELECT c::text FROM identity.one_time_codes c WHERE name = $1"
    name = f"verification:{verification_id}"
    kept = await superuser.fetchval(row, name)

    token = data(await enter(anna, verification_id, code))["token"]["token"]

    assert code.encode().hex() not in kept
    assert await superuser.fetchval(row, name) is None
    written = await superuser.fetchval(
        "SELECT v::text FROM identity.verifications v WHERE id = $1", UUID(verification_id)
    )
    assert token not in written
    events = await superuser.fetch(
        "SELECT type, data::text FROM platform.outbox WHERE data::text LIKE '%' || $1 || '%' "
        "ORDER BY position",
        verification_id,
    )
    assert [event["type"] for event in events] == [
        "com.guilder.verification.requested",
        "com.guilder.verification.concluded",
    ]
    assert not any(code in event["data"] or token in event["data"] for event in events)


async def test_clearing_ends_what_is_late_and_wipes_its_code(
    db: Database, town: Town, anna: Resident, superuser: Superuser
) -> None:
    verifying = Verifying(db=db, keys=OuterKeys(town.keys.folder), codes=DatabaseCodes(db))
    late, lively = [await begun(verifying, anna, to=name) for name in ("Ben", "Cara")]
    await superuser.execute(SET_BACK, UUID(late), timedelta(minutes=5))
    await superuser.execute(
        "UPDATE identity.one_time_codes SET expires_at = clock_timestamp() WHERE name = $1",
        f"verification:{late}",
    )

    await verifying.clear()

    names = await superuser.fetch("SELECT name FROM identity.one_time_codes")
    assert f"verification:{lively}" in [row["name"] for row in names]
    assert f"verification:{late}" not in [row["name"] for row in names]
    assert await superuser.fetchval(STATUS, UUID(late)) == "expired"
    assert await superuser.fetchval(STATUS, UUID(lively)) == "pending"


async def test_clearing_forgets_what_ended_a_day_ago(
    db: Database, town: Town, anna: Resident, superuser: Superuser
) -> None:
    verifying = Verifying(db=db, keys=OuterKeys(town.keys.folder), codes=DatabaseCodes(db))
    verification_id = await begun(verifying, anna)
    data(await anna.app.post(f"/verifications/{verification_id}/cancel"))
    await superuser.execute(
        "UPDATE identity.verifications SET ended_at = ended_at - interval '25 hours' WHERE id = $1",
        UUID(verification_id),
    )

    await verifying.clear()

    assert await superuser.fetchval(STATUS, UUID(verification_id)) is None


async def test_lost_answers_to_commits_begin_and_verify_once(
    forgetful: ForgetfulDatabase, town: Town, anna: Resident, superuser: Superuser
) -> None:
    verifying = Verifying(
        db=forgetful, keys=OuterKeys(town.keys.folder), codes=DatabaseCodes(forgetful)
    )
    verification_id = await begun(verifying, anna)
    code = await anna.code_of(verification_id)

    proof = await verifying.verify(anna.id, verification_id=UUID(verification_id), code=code)

    assert proof.token.startswith("ver_")
    told = await superuser.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE data::text LIKE '%' || $1 || '%'",
        verification_id,
    )
    assert told == 2
