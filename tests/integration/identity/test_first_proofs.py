"""A code that is the first proof of an address gives the account to whoever has the address."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from guilder.identity.service.code_stores import DatabaseCodes
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.authenticator import Authenticator
from tests.support.enrolled import Resident, settled
from tests.support.postbag import Letterbox, sent_to
from tests.support.town import PASSWORD, ForgetfulDatabase, Town, data, error, founded

Superuser = asyncpg.Connection

NEW = "QuietHarbour77"
PROVED = "SELECT email_verified_at IS NOT NULL FROM identity.users WHERE id = $1"


def letterbox(squatter: Resident, db: Database, *, town: Town | None = None) -> Letterbox:
    """Whoever has the addresses that somebody registered with."""
    return Letterbox(
        town=town or squatter.town, db=db, superuser=squatter.database, user_id=squatter.user_id
    )


async def by_passkey(town: Town, passkey: Authenticator, **more: object) -> httpx2.Response:
    options = data(await town.post("/auth/passkeys/login/options"))
    return await town.post("/auth/passkeys/login/verify", credential=passkey.get(options), **more)


async def phone_of(squatter: Resident) -> str:
    phone: str = (await squatter.get("/me"))["phone"]
    return phone


@pytest.mark.parametrize("name", ["email", "phone"])
async def test_the_first_proof_by_a_code_ends_every_other_way_in(
    name: str, town: Town, db: Database, superuser: Superuser
) -> None:
    squatter = await settled(town, superuser)
    asked = await town.http.post(
        "/api/v1/oauth/clients",
        json={"name": "mine", "scopes": ["wallets:read"]},
        headers={"Authorization": f"Bearer {squatter.token}"},
    )
    client = data(asked, 201)
    named = {"email": squatter.email, "phone": await phone_of(squatter)}[name]

    owner = data(await letterbox(squatter, db).sign_in(**{name: named}))

    assert owner["user"]["id"] == str(squatter.user_id)
    data(await town.me(owner["token"]))
    error(await town.me(squatter.token), 401)
    error(await squatter.sign_in(), 401)
    error(await squatter.sign_in(account_type="user_admin"), 401)
    form = {"grant_type": "client_credentials"} | {
        field: client[field] for field in ("client_id", "client_secret")
    }
    assert (await town.http.post("/api/v1/oauth/token", data=form)).status_code == 401
    events = await squatter.events()
    assert events.count("reclaimed") == events.count("password_changed") == 1


async def test_a_code_whose_second_factor_is_missing_proves_nothing_and_a_reset_still_does(
    town: Town, db: Database, superuser: Superuser
) -> None:
    squatter, passkey = await settled(town, superuser), Authenticator()
    await squatter.add_passkey(passkey)
    owner = letterbox(squatter, db)

    challenge = await owner.sign_in(email=squatter.email)
    proved = await superuser.fetchval(PROVED, squatter.user_id)
    await owner.reset(email=squatter.email, new_password=NEW)

    assert data(challenge, 202)["mfa_required"] is True
    assert proved is False
    assert "token" in data(await squatter.sign_in(password=NEW))
    error(await by_passkey(town, passkey), 401)
    error(await by_passkey(town, passkey, account_type="user_admin"), 401)


async def test_whoever_has_the_second_factor_too_proves_the_email_and_keeps_everything(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    await anna.enroll()
    here = await anna.again(otp=await anna.code())
    await anna.wait_for_next_code()

    signed_in = await letterbox(anna, db).sign_in(email=anna.email, second_factor=await anna.code())

    data(signed_in)
    assert await superuser.fetchval(PROVED, anna.user_id)
    data(await town.me(here.token))
    assert data(await anna.sign_in(), 202)["mfa_required"] is True


async def test_a_fresh_customer_signs_in_with_codes_and_chooses_a_password_when_they_want_one(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    mail = letterbox(anna, db)

    first = data(await mail.sign_in(email=anna.email))
    second = data(await mail.sign_in(email=anna.email))
    data(await town.me(first["token"]))
    await mail.reset(email=anna.email, new_password=NEW)

    assert first["user"] == second["user"]
    error(await anna.sign_in(password=PASSWORD), 401)
    data(await anna.sign_in(password=NEW))
    assert (await anna.events()).count("reclaimed") == 1


async def test_who_proves_the_email_with_the_password_keeps_it_when_a_code_comes_later(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    keys = OuterKeys(town.keys.folder)
    data(await anna.post("/verify", contact="email"), 202)
    code = (await sent_to(db, UserId(anna.user_id), keys=keys))[-1].code
    data(await anna.post("/verify", contact="email", otp=code))

    data(await letterbox(anna, db).sign_in(email=anna.email))

    data(await town.me(anna.token))
    assert "token" in data(await anna.sign_in())


async def test_a_first_proof_whose_answer_is_lost_opens_one_session_all_the_same(
    town: Town, db: Database, forgetful: ForgetfulDatabase, superuser: Superuser
) -> None:
    squatter = await settled(town, superuser)
    async with founded(forgetful, town.keys, codes=DatabaseCodes(forgetful)) as twice:
        owner: Any = data(await letterbox(squatter, db, town=twice).sign_in(email=squatter.email))

    assert UUID(owner["user"]["id"]) == squatter.user_id
    assert (await squatter.events()).count("reclaimed") == 1
    error(await town.me(squatter.token), 401)
