"""A session that a code or a provider opened does not change what protects the account."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx2
import pytest

from guilder.platform.db import Database
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, linked
from tests.support.enrolled import Resident
from tests.support.portal import settle
from tests.support.postbag import Letterbox
from tests.support.stranger import Person
from tests.support.town import PASSWORD, Town, data, error

Superuser = asyncpg.Connection

ADDRESSES_PROVED: Final = """
    UPDATE identity.users SET email_verified_at = now(), phone_verified_at = now() WHERE id = $1
"""
DOORS: Final = {
    "an authenticator app": ("POST", "/auth/mfa/totp/enroll", {}),
    "a passkey": ("POST", "/auth/passkeys/register/options", {}),
    "a machine client": ("POST", "/oauth/clients", {"name": "mine", "scopes": ["wallets:read"]}),
    "a link": ("POST", "/auth/oauth/google/link", {}),
    "no link": ("DELETE", "/auth/links/google", {}),
}
"""What protects an account, or opens it."""


async def ask(town: Town, token: str, door: str) -> httpx2.Response:
    method, path, body = DOORS[door]
    return await town.http.request(
        method,
        f"/api/v1{path}",
        json=body or None,
        headers={"Authorization": f"Bearer {token}"},
    )


async def by_code(city: Town, db: Database, superuser: Superuser, *, name: str) -> Resident:
    """Somebody who has Ben's phone, or her mailbox, for a minute."""
    ben = await settle(city, "Ben")
    await superuser.execute(ADDRESSES_PROVED, ben.id)
    mail = Letterbox(town=city, db=db, superuser=superuser, user_id=ben.id)
    login = data(await mail.sign_in(**{name: getattr(ben, name)}))
    return in_session(city, superuser, login, email=ben.email)


def in_session(city: Town, superuser: Superuser, login: Any, *, email: str) -> Resident:
    return Resident(
        town=city,
        email=email,
        user_id=UUID(login["user"]["id"]),
        token=login["token"],
        database=superuser,
    )


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["email", "phone"])
async def test_a_session_by_a_code_opens_no_door_until_it_has_proved_more(
    name: str, door: str, city: Town, db: Database, superuser: Superuser, anybody: Person
) -> None:
    thief = await by_code(city, db, superuser, name=name)

    refused = await ask(city, thief.token, door)
    data(await thief.post("/step-up", password=PASSWORD))
    after = await ask(city, thief.token, door)

    assert error(refused, 403)["code"] == "STEP_UP_REQUIRED"
    assert after.status_code != 403, after.text


@pytest.mark.parametrize("door", DOORS)
async def test_a_session_by_a_provider_opens_no_door_either(
    door: str, city: Town, superuser: Superuser, anybody: Person
) -> None:
    anna = await linked(city)
    login = data(await Browser(city).sign_in("google"))
    thief = in_session(city, superuser, login, email=anna.email)

    assert error(await ask(city, thief.token, door), 403)["code"] == "STEP_UP_REQUIRED"


async def test_a_refreshed_session_is_no_stronger_than_it_began(
    city: Town, db: Database, superuser: Superuser
) -> None:
    ben = await settle(city, "Ben")
    await superuser.execute(ADDRESSES_PROVED, ben.id)
    mail = Letterbox(town=city, db=db, superuser=superuser, user_id=ben.id)
    login = data(await mail.sign_in(phone=ben.phone))

    fresh = data(await city.post("/auth/refresh", refresh_token=login["refresh_token"]))

    refused = await ask(city, fresh["token"], "a passkey")
    assert error(refused, 403)["code"] == "STEP_UP_REQUIRED"


async def test_a_session_by_a_passkey_opens_them_at_once(
    city: Town, superuser: Superuser, anybody: Person
) -> None:
    ben = await settle(city, "Ben")
    first = in_session(
        city,
        superuser,
        {"user": {"id": str(ben.id)}, "token": ben.app.token},
        email=ben.email,
    )
    passkey = Authenticator()
    await first.add_passkey(passkey)
    options = data(await city.post("/auth/passkeys/login/options"))
    login = data(await city.post("/auth/passkeys/login/verify", credential=passkey.get(options)))

    assert "challenge" in data(await ask(city, login["token"], "a passkey"))
