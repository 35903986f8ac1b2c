"""Passwords over HTTP, on a real database: changed with a verification, reset with a token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.identity.api.verifications import token_digest
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import Resident, SignedInAs, settle
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, PASSWORD, ForgetfulDatabase, Town, data, error, founded

Superuser = asyncpg.Connection

NEW = "NewSecurePass456"
AGO = "UPDATE identity.code_issues SET issued_at = issued_at - interval '31 seconds'"
EVENTS = """
    SELECT type, data::text FROM platform.outbox WHERE key = $1
        AND type = 'com.guilder.user.password_changed'
"""


@pytest_asyncio.fixture
async def anna(town: Town) -> AsyncIterator[Resident]:
    yield await settle(town, "Anna")


async def change(
    account: SignedInAs, *, current: str = PASSWORD, new: str = NEW, **more: str
) -> httpx2.Response:
    return await account.post(
        "/auth/password/change", current_password=current, new_password=new, **more
    )


async def verified(anna: Resident, **passwords: str) -> str:
    """The token that allows a change."""
    needed = data(await change(anna.app, **passwords), 202)
    return await anna.confirm(needed["verification_id"])


async def test_change_is_verified_and_then_done(town: Town, anna: Resident) -> None:
    needed = data(await change(anna.app), 202)

    assert set(needed) == {"verification_required", "verification_id", "message", "expires_at"}
    assert needed["verification_required"] is True
    assert needed["message"] == "Please complete OTP verification via User-Admin portal"
    (waiting,) = await anna.pending()
    assert (waiting["id"], waiting["operation_type"]) == (
        needed["verification_id"],
        "password_change",
    )
    token = await anna.confirm(needed["verification_id"])
    done = data(await change(anna.app, verification_token=token))
    assert done["password_changed"] is True
    data(await town.login(email=anna.email, password=NEW))
    assert error(await town.login(email=anna.email), 401)["code"] == "UNAUTHORIZED"


async def test_change_ends_every_other_session_at_once(town: Town, anna: Resident) -> None:
    other = SignedInAs(town=town, token=data(await town.login(email=anna.email))["token"])

    data(await change(anna.app, verification_token=await verified(anna)))

    assert (await anna.app.get("/auth/me")).status_code == 200
    for ended in (other, anna.portal):
        assert error(await ended.get("/auth/me"), 401)["code"] == "UNAUTHORIZED"


async def test_wrong_current_password_changes_and_verifies_nothing(anna: Resident) -> None:
    refusal = error(await change(anna.app, current="Another-Pass-1"), 400)

    assert refusal["details"]["fields"] == {"current_password": "is not the password"}
    assert await anna.pending() == []


async def test_guessing_the_current_password_has_to_wait(anna: Resident) -> None:
    answers = [await change(anna.app, current=f"Another-Pass-{n}") for n in range(6)]

    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert error(answers[-1], 429)["code"] == "TOO_MANY_SIGN_INS"


@pytest.mark.parametrize("new", ["short", "password1", "aaaaaaaaaa", PASSWORD, "x" * 129])
async def test_weak_new_password_is_refused(new: str, anna: Resident) -> None:
    refusal = error(await change(anna.app, new=new), 400)

    assert list(refusal["details"]["fields"]) == ["new_password"]


async def test_own_name_is_no_password(anna: Resident) -> None:
    refusal = error(await change(anna.app, new=anna.email), 400)

    assert list(refusal["details"]["fields"]) == ["new_password"]


async def test_token_is_for_this_new_password_only(town: Town, anna: Resident) -> None:
    token = await verified(anna)

    refusal = await change(anna.app, new="AnotherPass789", verification_token=token)

    assert error(refusal, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    data(await town.login(email=anna.email))
    data(await change(anna.app, verification_token=token))


async def test_token_of_another_user_changes_nothing(town: Town, anna: Resident) -> None:
    ben = await settle(town, "Ben")

    refusal = await change(anna.app, verification_token=await verified(ben))

    assert error(refusal, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    data(await town.login(email=anna.email))


async def test_repeating_a_change_whose_answer_was_lost_says_it_is_done(
    town: Town, anna: Resident, superuser: Superuser
) -> None:
    token = await verified(anna)
    data(await change(anna.app, verification_token=token))

    again = data(await change(anna.app, verification_token=token))
    other = await change(anna.app, new="AnotherPass789", verification_token=token)

    assert again["password_changed"] is True
    assert error(other, 400)["code"] == "VALIDATION_ERROR"
    assert len(await superuser.fetch(EVENTS, str(anna.id))) == 1
    data(await town.login(email=anna.email, password=NEW))


async def test_one_of_several_changes_at_once_is_made(anna: Resident, superuser: Superuser) -> None:
    token = await verified(anna)

    answers = await asyncio.gather(*(change(anna.app, verification_token=token) for _ in range(4)))

    assert 200 in {answer.status_code for answer in answers}
    assert len(await superuser.fetch(EVENTS, str(anna.id))) == 1


async def test_change_voids_what_was_verified_under_the_old_password(
    anna: Resident, town: Town
) -> None:
    first = await verified(anna)
    second = await verified(anna, new="AnotherPass789")
    data(await change(anna.app, verification_token=first))

    refusal = await change(anna.app, current=NEW, new="AnotherPass789", verification_token=second)

    assert error(refusal, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    data(await town.login(email=anna.email, password=NEW))


async def test_change_wipes_the_codes_of_what_it_voids(
    anna: Resident, superuser: Superuser
) -> None:
    token = await verified(anna)
    waiting = data(await change(anna.app, new="AnotherPass789"), 202)["verification_id"]
    kept = "SELECT count(*) FROM identity.one_time_codes WHERE name = $1"
    assert await superuser.fetchval(kept, f"verification:{waiting}") == 1

    data(await change(anna.app, verification_token=token))

    assert await superuser.fetchval(kept, f"verification:{waiting}") == 0


async def test_portal_account_changes_no_password(anna: Resident) -> None:
    assert error(await change(anna.portal), 403)["code"] == "FORBIDDEN"


async def test_staff_get_their_code_by_email(db: Database, town: Town) -> None:
    keys = OuterKeys(town.keys.folder)
    staff = module.build_staff(db=db, keys=town.keys, contacts=keys)
    lena = await staff.appoint(
        email="lena@guilder.test", role="admin", full_name="Lena Berg", password=PASSWORD
    )
    token = data(await town.login(email="lena@guilder.test"))["token"]
    account = SignedInAs(town=town, token=token)

    needed = data(await change(account), 202)

    (sent,) = await sent_to(db, lena.user_id, keys=keys)
    assert (sent.purpose, sent.channel) == ("verification", "email")
    assert sent.code not in sent.text
    assert "email" in needed["message"]
    proof = data(
        await account.post(f"/verifications/{needed['verification_id']}/verify", otp=sent.code)
    )
    data(await change(account, verification_token=proof["token"]["token"]))
    data(await town.login(email="lena@guilder.test", password=NEW))


async def test_lost_answers_to_commits_change_a_password_once(
    forgetful: ForgetfulDatabase, town: Town, anna: Resident, superuser: Superuser
) -> None:
    async with founded(forgetful, town.keys) as shaky:
        account = SignedInAs(town=shaky, token=anna.app.token)
        needed = data(await change(account), 202)
        token = await anna.confirm(needed["verification_id"])
        data(await change(account, verification_token=token))

    assert len(await superuser.fetch(EVENTS, str(anna.id))) == 1
    data(await town.login(email=anna.email, password=NEW))


class Recovery:
    """Asks for reset tokens and opens what arrives."""

    def __init__(self, db: Database, town: Town) -> None:
        self.db = db
        self.town = town
        self.keys = OuterKeys(town.keys.folder)

    async def token(self, anna: Resident, **name: str) -> str:
        data(await self.town.post("/auth/forgot", **(name or {"email": anna.email})), 202)
        return (await self.tokens(anna))[-1]

    async def tokens(self, anna: Resident) -> list[str]:
        identity = module.build(
            db=self.db, keys=self.town.keys, contacts=self.keys, password_cost=CHEAP
        )
        await work_off(self.db, identity.tasks)
        sent = await sent_to(self.db, anna.id, keys=self.keys)
        assert {one.channel for one in sent} <= {"email"}
        return [one.code for one in sent if one.purpose == "password_reset"]

    async def reset(self, token: str, new: str = NEW) -> httpx2.Response:
        return await self.town.post("/auth/reset", token=token, new_password=new)


@pytest.fixture
def recovery(db: Database, town: Town) -> Recovery:
    return Recovery(db, town)


@pytest.mark.parametrize("name", ["email", "phone"])
async def test_token_resets_the_password_and_ends_every_session(
    name: str, town: Town, anna: Resident, recovery: Recovery
) -> None:
    token = await recovery.token(anna, **{name: getattr(anna, name)})

    done = data(await recovery.reset(token))

    assert done["password_changed"] is True
    data(await town.login(email=anna.email, password=NEW))
    assert error(await town.login(email=anna.email), 401)["code"] == "UNAUTHORIZED"
    for account in (anna.app, anna.portal):
        assert (await account.get("/auth/me")).status_code == 401


async def test_reset_token_works_once_though_it_comes_five_times(
    anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    token = await recovery.token(anna)

    answers = await asyncio.gather(
        *(recovery.reset(token, new=f"{NEW}-{number}") for number in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 4
    codes = {a.json()["error"]["code"] for a in answers if a.status_code == 400}
    assert codes == {"RESET_TOKEN_UNUSABLE"}
    assert len(await superuser.fetch(EVENTS, str(anna.id))) == 1


async def test_weak_password_does_not_use_the_reset_token_up(
    anna: Resident, recovery: Recovery
) -> None:
    token = await recovery.token(anna)

    for weak in ("short", "password1", anna.email):
        fields = error(await recovery.reset(token, new=weak), 400)["details"]["fields"]
        assert list(fields) == ["new_password"]

    data(await recovery.reset(token))


async def test_reset_token_is_refused_after_half_an_hour(
    anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    token = await recovery.token(anna)
    life = await superuser.fetchval(
        "SELECT expires_at - created_at FROM identity.password_resets WHERE token_digest = $1",
        token_digest(token),
    )
    await superuser.execute(
        "UPDATE identity.password_resets SET expires_at = clock_timestamp() WHERE user_id = $1",
        anna.id,
    )

    refusal = error(await recovery.reset(token), 400)

    assert refusal["code"] == "RESET_TOKEN_UNUSABLE"
    assert round(life.total_seconds()) == 1800


@pytest.mark.parametrize("token", ["rst_made_up", "x" * 200, "\u0661"])
async def test_unknown_reset_token_is_refused(token: str, recovery: Recovery) -> None:
    assert error(await recovery.reset(token), 400)["code"] == "RESET_TOKEN_UNUSABLE"


async def test_other_reset_tokens_end_with_the_first_that_is_used(
    anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    first = await recovery.token(anna)
    await superuser.execute(AGO)
    second = await recovery.token(anna)

    data(await recovery.reset(second))

    assert first != second
    refusal = error(await recovery.reset(first, new="AnotherPass789"), 400)
    assert refusal["code"] == "RESET_TOKEN_UNUSABLE"


async def test_change_of_the_password_voids_reset_tokens(
    anna: Resident, recovery: Recovery
) -> None:
    token = await recovery.token(anna)
    data(await change(anna.app, verification_token=await verified(anna)))

    refusal = error(await recovery.reset(token, new="AnotherPass789"), 400)

    assert refusal["code"] == "RESET_TOKEN_UNUSABLE"


async def test_reset_proves_the_email_and_tells_of_the_password(
    anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    data(await recovery.reset(await recovery.token(anna)))

    proved = "SELECT email_verified_at IS NOT NULL FROM identity.users WHERE id = $1"
    assert await superuser.fetchval(proved, UUID(str(anna.id)))
    (event,) = await superuser.fetch(EVENTS, str(anna.id))
    assert '"by": "reset"' in event["data"] or '"by":"reset"' in event["data"]


async def test_lost_answers_to_commits_reset_a_password_once(
    forgetful: ForgetfulDatabase,
    town: Town,
    anna: Resident,
    recovery: Recovery,
    superuser: Superuser,
) -> None:
    token = await recovery.token(anna)

    async with founded(forgetful, town.keys) as shaky:
        data(await shaky.post("/auth/reset", token=token, new_password=NEW))

    assert len(await superuser.fetch(EVENTS, str(anna.id))) == 1
    data(await town.login(email=anna.email, password=NEW))


async def test_forgetting_is_answered_alike_for_names_that_nobody_has(
    town: Town, anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    jobs = "SELECT count(*) FROM platform.jobs"

    async def ask(**name: str) -> tuple[int, Any, int]:
        before = await superuser.fetchval(jobs)
        answer = await town.post("/auth/forgot", **name)
        return answer.status_code, answer.json(), await superuser.fetchval(jobs) - before

    known = await ask(email=anna.email)
    unknown = await ask(email="nobody@example.com")
    impossible = await ask(email="nobody")

    assert known == unknown == impossible
    assert len(await recovery.tokens(anna)) == 1


async def test_database_holds_no_reset_token_in_clear(
    anna: Resident, recovery: Recovery, superuser: Superuser
) -> None:
    token = await recovery.token(anna)

    kept = await superuser.fetchval(
        "SELECT (SELECT string_agg(r::text, '') FROM identity.password_resets r) "
        "|| (SELECT string_agg(j::text, '') FROM platform.jobs j) "
        "|| (SELECT string_agg(o::text, '') FROM platform.outbox o)"
    )

    assert token not in kept
    assert token.encode().hex() not in kept
    assert anna.email not in kept
