"""Wrong codes count for the session that began: a stolen one does not hold up its owner."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import httpx2

from guilder.platform.db import Database
from tests.support.portal import Resident, SignedInAs, other_than, settle
from tests.support.postbag import Letterbox
from tests.support.town import PASSWORD, Town, data, error

Superuser = asyncpg.Connection

CHANGE = "/auth/password/change"
NEW = "Another long passphrase"
EARLIER = """
    UPDATE identity.verifications SET created_at = created_at - $2::interval WHERE user_id = $1
"""


async def wish(session: SignedInAs, new: str = NEW) -> httpx2.Response:
    return await session.post(CHANGE, current_password=PASSWORD, new_password=new)


async def guess_a_hundred_times(anna: Resident, session: SignedInAs) -> None:
    """As whoever has a copy of the session and the password, and not the portal."""
    for number in range(20):
        verification_id = data(await wish(session, f"{NEW} {number}"), 202)["verification_id"]
        wrong = other_than(await anna.code_of(verification_id))
        for _ in range(5):
            tried = await session.post(f"/verifications/{verification_id}/verify", otp=wrong)
            assert error(tried, 400)["code"] == "INVALID_OTP"


async def test_a_stolen_session_that_guessed_waits_a_day_and_its_owner_does_not(
    town: Town, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    await guess_a_hundred_times(anna, anna.app)
    await superuser.execute(EARLIER, anna.id, timedelta(hours=12))

    refused = await wish(anna.app)
    fresh = SignedInAs(town=town, token=data(await town.login(email=anna.email))["token"])
    needed = data(await wish(fresh), 202)

    assert error(refused, 429)["code"] == "TOO_MANY_VERIFICATIONS"
    assert 11 * 3600 < int(refused.headers["retry-after"]) <= 12 * 3600
    assert needed["verification_required"] is True


async def test_sessions_that_codes_opened_have_their_guesses_together(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now(), phone_verified_at = now() "
        "WHERE id = $1",
        anna.id,
    )
    mail = Letterbox(town=town, db=db, superuser=superuser, user_id=anna.id)
    thief, again = [
        SignedInAs(town=town, token=data(await mail.sign_in(phone=anna.phone))["token"])
        for _ in range(2)
    ]
    await guess_a_hundred_times(anna, thief)

    assert error(await wish(again), 429)["code"] == "TOO_MANY_VERIFICATIONS"
    assert data(await wish(anna.app), 202)["verification_required"] is True
