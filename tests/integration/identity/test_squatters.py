"""Whoever registers with the email of somebody else keeps no quiet way in once it is proved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest_asyncio

from guilder.identity import module
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.browser import Browser, linked
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, Town, data, error
from tests.support.townhall import Townsman

Superuser = asyncpg.Connection

ENDED = """
    SELECT count(*) FROM platform.outbox WHERE key = $1 AND type IN (
        'com.guilder.user.outside_identity_unlinked', 'com.guilder.client.removed'
    )
"""


async def reset(town: Town, db: Database, person: Townsman, *, new: str) -> None:
    """Set a password as whoever reads the mail of this address."""
    data(await town.post("/auth/forgot", email=person.email), 202)
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    await work_off(db, identity.tasks)
    token = (await sent_to(db, UserId(UUID(person.id)), keys=keys))[-1].code
    data(await town.post("/auth/reset", token=token, new_password=new))


async def token_of(town: Town, client: dict[str, Any]) -> httpx2.Response:
    form = {"grant_type": "client_credentials"} | {
        name: client[name] for name in ("client_id", "client_secret")
    }
    return await town.http.post("/api/v1/oauth/token", data=form)


@pytest_asyncio.fixture
async def squatter(city: Town, anybody: Any) -> Townsman:
    return await linked(city)


async def test_the_first_proof_of_an_email_by_a_reset_ends_clients_and_links(
    city: Town, db: Database, squatter: Townsman, superuser: Superuser
) -> None:
    asked = await squatter.ask("POST", "/oauth/clients", name="mine", scopes=["wallets:read"])
    client = data(asked, 201)
    assert (await token_of(city, client)).status_code == 200

    await reset(city, db, squatter, new="QuietHarbour88")

    assert (await token_of(city, client)).status_code == 401
    assert error(await Browser(city).sign_in("google"), 403)["code"] == "NOT_LINKED"
    assert await superuser.fetchval(ENDED, squatter.id) == 2


async def test_a_later_reset_leaves_them_to_whoever_had_proved_the_email(
    city: Town, db: Database, squatter: Townsman, superuser: Superuser
) -> None:
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", squatter.id
    )
    asked = await squatter.ask("POST", "/oauth/clients", name="mine", scopes=["wallets:read"])

    await reset(city, db, squatter, new="QuietHarbour99")

    assert (await token_of(city, data(asked, 201))).status_code == 200
    assert data(await Browser(city).sign_in("google"))["user"]["id"] == squatter.id
