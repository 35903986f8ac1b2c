"""Whoever is erased while they add a way in is erased with it: nothing is written for them."""

from __future__ import annotations

import asyncio
from base64 import b32decode
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest_asyncio

from guilder.identity.api.personal_data import ErasureTerms
from guilder.identity.module import ERASED_USERS
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.erasures import ErasureList
from guilder.platform.keys import KeyFolder
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, providers
from tests.support.enrolled import Resident, settled
from tests.support.stranger import Person, Stranger
from tests.support.town import Town, data, error, founded
from tests.support.townhall import staff
from tests.support.waiting import until

Superuser = asyncpg.Connection
WAITING = """
    SELECT EXISTS (
        SELECT FROM pg_stat_activity
        WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
    )
"""
ROWS = """
    SELECT (SELECT count(*) FROM identity.passkeys WHERE user_id = $1)
        + (SELECT count(*) FROM identity.totp WHERE user_id = $1)
        + (SELECT count(*) FROM identity.recovery_codes WHERE user_id = $1)
        + (SELECT count(*) FROM identity.outside_identities WHERE user_id = $1)
"""


@dataclass
class SlowEstates:
    """Nobody has anything; to find that out takes until ``may_end``."""

    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def wind_up(self, _tx: Tx, _user_id: UserId) -> datetime | None:
        """Hold the erasure, which has locked the user."""
        self.has_begun.set()
        await self.may_end.wait()
        return None


@dataclass(frozen=True, kw_only=True)
class Place:
    """A town whose erasures wait for a word."""

    town: Town
    estates: SlowEstates
    db: Database
    superuser: Superuser

    async def erase_during(
        self, anna: Resident, act: Coroutine[Any, Any, httpx2.Response]
    ) -> httpx2.Response:
        """What ``act`` is answered, which comes when an erasure has the user's lock."""
        officer = await staff(self.town, self.db, "compliance")
        path = f"/admin/users/{anna.user_id}"
        erasing = asyncio.create_task(officer.ask("DELETE", path, reason="Asked for it."))
        await self.estates.has_begun.wait()
        acting = asyncio.create_task(act)

        async def has_come_to_rest() -> bool:
            return acting.done() or bool(await self.superuser.fetchval(WAITING))

        await until(has_come_to_rest, "what the user does waits for their erasure")
        self.estates.may_end.set()
        data(await erasing)
        return await acting


@pytest_asyncio.fixture
async def place(
    db: Database, superuser: Superuser, google: Stranger, tmp_path: Path
) -> AsyncIterator[Place]:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    estates = SlowEstates()
    listed = ErasureList(tmp_path / "heads", name=ERASED_USERS)
    terms = ErasureTerms(estates=estates, retention=timedelta(), listed=listed)
    async with founded(db, keys, erasing=terms, providers=providers(google, tmp_path)) as town:
        yield Place(town=town, estates=estates, db=db, superuser=superuser)


async def test_a_passkey_that_waits_for_an_erasure_is_refused(place: Place) -> None:
    anna = await settled(place.town, place.superuser)
    credential = Authenticator().create(data(await anna.post("/passkeys/register/options")))

    answer = await place.erase_during(
        anna, anna.post("/passkeys/register/verify", credential=credential, name="Phone")
    )

    assert error(answer, 401)["code"] == "UNAUTHORIZED"
    assert await place.superuser.fetchval(ROWS, anna.user_id) == 0


async def test_an_authenticator_app_confirmed_during_an_erasure_leaves_nothing(
    place: Place,
) -> None:
    anna = await settled(place.town, place.superuser)
    anna.secret = b32decode(data(await anna.post("/mfa/totp/enroll"))["secret"])
    code = await anna.code()

    # both want a row that the other has: whichever the database lets go first, nothing is left
    answer = await place.erase_during(anna, anna.post("/mfa/totp/confirm", otp=code))

    assert answer.status_code in {200, 401, 409}, answer.text
    assert await place.superuser.fetchval(ROWS, anna.user_id) == 0


async def test_a_link_that_waits_for_an_erasure_is_refused(place: Place, anybody: Person) -> None:
    anna = await settled(place.town, place.superuser)
    browser = Browser(place.town)
    back = await browser.visit(await browser.leave_to_link("google", token=anna.token))

    answer = await place.erase_during(anna, browser.come_back(back))

    assert error(answer, 401)["code"] == "UNAUTHORIZED"
    assert await place.superuser.fetchval(ROWS, anna.user_id) == 0
