"""Codes and reset tokens of before open nothing once all of somebody's sessions were ended."""

from __future__ import annotations

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from tests.support.portal import Resident, settle
from tests.support.postbag import Letterbox
from tests.support.town import Town, data, error
from tests.support.townhall import staff

Superuser = asyncpg.Connection

NEW = "QuietHarbour77"


@pytest_asyncio.fixture
async def anna(town: Town) -> Resident:
    return await settle(town, "Anna")


@pytest.fixture
def mail(town: Town, db: Database, superuser: Superuser, anna: Resident) -> Letterbox:
    return Letterbox(town=town, db=db, superuser=superuser, user_id=anna.id)


async def end_by(ending: str, *, town: Town, db: Database, anna: Resident, mail: Letterbox) -> None:
    """End all of Anna's sessions."""
    if ending == "signing out everywhere":
        assert (await anna.app.post("/auth/logout-all")).is_success
    elif ending == "a reset":
        await mail.reset(email=anna.email, new_password=NEW)
    else:
        officer = await staff(town, db, "compliance")
        path = f"/admin/users/{anna.id}"
        data(await officer.ask("POST", f"{path}/freeze", reason="A report."))
        data(await officer.ask("POST", f"{path}/unfreeze", reason="It was nothing."))


@pytest.mark.parametrize("ending", ["signing out everywhere", "a reset", "a freeze"])
async def test_a_code_that_was_sent_before_opens_no_session(
    ending: str, town: Town, db: Database, anna: Resident, mail: Letterbox
) -> None:
    code = await mail.get("/auth/otp/request", email=anna.email)

    await end_by(ending, town=town, db=db, anna=anna, mail=mail)

    late = await town.post("/auth/otp/verify", email=anna.email, otp=code)
    assert error(late, 400)["code"] == "INVALID_OTP"
    data(await mail.sign_in(email=anna.email))


@pytest.mark.parametrize("ending", ["signing out everywhere", "a reset", "a freeze"])
async def test_a_reset_token_that_was_sent_before_resets_nothing(
    ending: str, town: Town, db: Database, anna: Resident, mail: Letterbox
) -> None:
    token = await mail.get("/auth/forgot", email=anna.email)

    await end_by(ending, town=town, db=db, anna=anna, mail=mail)

    late = await town.post("/auth/reset", token=token, new_password="AnotherHarbour88")
    assert error(late, 400)["code"] == "RESET_TOKEN_UNUSABLE"


async def test_one_session_that_ends_leaves_codes_as_they_are(
    town: Town, anna: Resident, mail: Letterbox
) -> None:
    code = await mail.get("/auth/otp/request", email=anna.email)

    assert (await anna.app.post("/auth/logout")).is_success

    assert "token" in data(await town.post("/auth/otp/verify", email=anna.email, otp=code))
