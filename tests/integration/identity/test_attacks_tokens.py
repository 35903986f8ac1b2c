"""Attacks with tokens: forged, stale, meant for something else, or carried otherwise."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from tests.support.enrolled import Resident, settled
from tests.support.forgeries import FORGERIES, Forger, Forgery
from tests.support.portal import settle
from tests.support.town import Town, data, error
from tests.support.townhall import customer, staff

ME = "/api/v1/auth/me"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def forger(town: Town) -> Forger:
    """Somebody who wants to be Anna."""
    anna = await customer(town)
    key = await town.keys.signing_key()
    return Forger(key=key, account_id=UUID(anna.id), now=int(time.time()))


@pytest_asyncio.fixture
async def anna(town: Town, superuser: asyncpg.Connection) -> AsyncIterator[Resident]:
    yield await settled(town, superuser)


async def test_the_forger_makes_good_tokens_but_for_the_trick(forger: Forger, town: Town) -> None:
    assert data(await town.me(forger.token()))["id"] == str(forger.account_id)


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_forged_token_is_nobodys(forgery: Forgery, forger: Forger, town: Town) -> None:
    answer = await town.me(forgery(forger))

    refusal = error(answer, 401)
    assert refusal["code"] == "UNAUTHORIZED"
    assert "details" not in refusal


async def test_a_forged_token_is_not_remembered_as_good(forger: Forger, town: Town) -> None:
    good = forger.token()
    data(await town.me(good))
    head, payload, signature = good.split(".")

    for forged in (f"{head}.{payload}.{'A' * 86}", f"{head}.{payload}.{signature[::-1]}"):
        error(await town.me(forged), 401)

    assert data(await town.me(good))["id"] == str(forger.account_id)


def carried_otherwise(token: str) -> dict[str, dict[str, Any]]:
    """A good token where none is looked for, or beside something else."""
    return {
        "in the query": {"params": {"access_token": token}},
        "in a cookie": {"headers": {"Cookie": f"access_token={token}; token={token}"}},
        "in another header": {"headers": {"X-Access-Token": token}},
        "under another scheme": {"headers": {"Authorization": f"Basic {token}"}},
        "without a scheme": {"headers": {"Authorization": token}},
        "with more behind it": {"headers": {"Authorization": f"Bearer {token} x"}},
        "as one of two": {
            "headers": [("Authorization", "Bearer x"), ("Authorization", f"Bearer {token}")]
        },
    }


@pytest.mark.parametrize("way", carried_otherwise("").keys())
async def test_a_token_counts_only_where_tokens_belong(
    way: str, forger: Forger, town: Town
) -> None:
    answer = await town.http.get(ME, **carried_otherwise(forger.token())[way])

    assert answer.status_code in {400, 401}, answer.text


async def test_no_other_secret_is_an_access_token(anna: Resident, town: Town) -> None:
    await anna.enroll()
    challenged = data(await anna.sign_in(), 202)
    login = data(await anna.sign_in(otp=await anna.code(), remember_device=True))
    secrets = {
        "refresh token": login["refresh_token"],
        "device token": login["device_token"],
        "challenge": challenged["challenge"],
        "recovery code": anna.recovery_codes[0],
        "session": (await anna.get("/sessions"))[0]["id"],
    }

    refused = {name: (await town.me(secret)).status_code for name, secret in secrets.items()}

    assert refused == dict.fromkeys(secrets, 401)


async def test_a_verification_token_is_no_access_token(town: Town) -> None:
    ben = await settle(town, "Ben")
    change = {"current_password": "SecurePass123", "new_password": "Another long passphrase"}
    begun = data(await ben.app.post("/auth/password/change", **change), 202)

    token = await ben.confirm(begun["verification_id"])

    assert (await town.me(token)).status_code == 401
    assert (await town.post("/auth/refresh", refresh_token=token)).status_code == 401


async def test_a_token_outlives_neither_its_session_nor_its_user(
    anna: Resident, town: Town, db: Database
) -> None:
    other = await anna.again()
    data(await other.post("/logout"))
    error(await town.me(other.token), 401)
    officer = await staff(town, db, "compliance")

    data(await officer.ask("POST", f"/admin/users/{anna.user_id}/freeze", reason="A report."))

    assert error(await town.me(anna.token), 401)["code"] == "UNAUTHORIZED"


async def test_roles_in_a_token_do_not_outlive_the_appointment(town: Town, db: Database) -> None:
    boss = await staff(town, db, "admin")
    clerk = await staff(town, db, "operations")
    assert await clerk.may("ledger:write")

    demoted = await boss.ask(
        "PATCH", f"/admin/users/{clerk.id}/role", role="support", reason="Another desk."
    )

    data(demoted)
    assert not await clerk.may("ledger:write")
