"""What second factors leave behind goes when it is over, and secrets follow the newest key."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from guilder.identity.service.factor_clearing import FactorClearing, FactorResealing
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys, key_id
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from tests.support.authenticator import Authenticator
from tests.support.enrolled import Resident, settled
from tests.support.town import PASSWORD, Town, data, founded

Superuser = asyncpg.Connection
MOMENTS = {
    "sign_in_challenges": "expires_at",
    "passkey_ceremonies": "expires_at",
    "step_ups": "touched_at",
    "factor_attempts": "done_at",
    "totp": "confirm_by",
}


@pytest.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    return await settled(town, superuser)


async def _leave_everything(person: Resident, superuser: Superuser) -> None:
    data(await person.post("/step-up", password=PASSWORD))
    await person.add_passkey(Authenticator())
    data(await person.sign_in(), 202)
    data(await person.post("/mfa/totp/enroll"))
    # as a program of an earlier version does, that still runs
    await superuser.execute("INSERT INTO identity.factor_attempts (id) VALUES ($1)", new_id())


async def _counts(superuser: Superuser) -> dict[str, int]:
    return {
        table: await superuser.fetchval(f"SELECT count(*) FROM identity.{table}")
        for table in MOMENTS
    }


async def test_what_has_been_over_for_a_day_is_deleted(
    anna: Resident, db: Database, superuser: Superuser
) -> None:
    await _leave_everything(anna, superuser)
    assert min((await _counts(superuser)).values()) > 0
    for table, column in MOMENTS.items():
        await superuser.execute(f"UPDATE identity.{table} SET {column} = {column} - interval '2 d'")

    await FactorClearing(db).clear()

    assert set((await _counts(superuser)).values()) == {0}


async def test_what_goes_on_stays(anna: Resident, db: Database, superuser: Superuser) -> None:
    await _leave_everything(anna, superuser)
    before = await _counts(superuser)

    await FactorClearing(db).clear()

    assert await _counts(superuser) == before


async def test_a_confirmed_app_stays_however_old(
    anna: Resident, db: Database, superuser: Superuser
) -> None:
    await anna.enroll()
    await superuser.execute("UPDATE identity.totp SET confirm_by = confirm_by - interval '2 years'")

    await FactorClearing(db).clear()

    assert (await anna.get("/mfa"))["totp"]


async def test_secrets_are_sealed_by_the_newest_key(
    db: Database, superuser: Superuser, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    KeyFolder(folder).ensure()
    async with founded(db, KeyFolder(folder)) as town:
        people = [await settled(town, superuser) for _ in range(3)]
        for person in people:
            await person.enroll()
        keys = OuterKeys(folder)
        newest = new_id()
        keys.add(newest)

        await FactorResealing(db=db, keys=keys, at_once=2).reseal()

        for person in people:
            sealed = await superuser.fetchval(
                "SELECT sealed_secret FROM identity.totp WHERE user_id = $1", person.user_id
            )
            assert key_id(sealed) == newest
            data(await person.sign_in(otp=await person.code()))


async def test_a_secret_that_cannot_be_opened_holds_nobody_up(
    db: Database, superuser: Superuser, tmp_path: Path
) -> None:
    folder = tmp_path / "keys"
    KeyFolder(folder).ensure()
    async with founded(db, KeyFolder(folder)) as town:
        anna, ben = [await settled(town, superuser, name=name) for name in ("Anna", "Ben")]
        for person in (anna, ben):
            await person.enroll()
        await superuser.execute(
            "UPDATE identity.totp SET sealed_secret = substring(sealed_secret FROM 1 FOR 40) "
            "WHERE user_id = $1",
            anna.user_id,
        )
        keys = OuterKeys(folder)
        newest = new_id()
        keys.add(newest)

        await FactorResealing(db=db, keys=keys).reseal()

        sealed = await superuser.fetchval(
            "SELECT sealed_secret FROM identity.totp WHERE user_id = $1", ben.user_id
        )
        assert key_id(sealed) == newest
