"""Whoever was erased stays so when a backup brings them back, by a list outside the database."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from guilder.identity.api.personal_data import ErasureTerms
from guilder.identity.module import ERASED_USERS
from guilder.identity.service.access import AccessTokens
from guilder.identity.service.named_jobs import NamedJobs
from guilder.identity.service.personal_data import ErasePeople
from guilder.identity.service.sessions import Sessions
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.erasures import ErasureList, Listed
from tests.integration.identity.test_erasure import (
    BECAUSE,
    bank,
    erase,
    lines,
    officer,
    terms,
    town,
    user_id,
)
from tests.integration.identity.test_personal_data import store_of
from tests.support.bank import Bank, withdrawal
from tests.support.town import Town, data, error
from tests.support.townhall import Townsman, customer

__all__ = ["bank", "officer", "town"]

Superuser = asyncpg.Connection


@pytest.fixture
def erasing(db: Database, town: Town, bank: Bank) -> ErasePeople:
    """As a worker has it."""
    return erasing_on(terms(bank, town.keys), db=db, town=town)


def erasing_on(terms: ErasureTerms, *, db: Database, town: Town) -> ErasePeople:
    users = store_of(town)
    tokens = AccessTokens(keys=town.keys, issuer="guilder", audience="guilder", now=time.time)
    sessions = Sessions(db=db, users=users, tokens=tokens)
    jobs = NamedJobs(OuterKeys(town.keys.folder))
    return ErasePeople(db=db, users=users, sessions=sessions, jobs=jobs, terms=terms)


async def test_the_list_outside_has_whoever_was_erased_and_nobody_who_was_refused(
    town: Town, officer: Townsman, bank: Bank, superuser: Superuser, erasing: ErasePeople
) -> None:
    anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
    await bank.open(user_id(ben), funds_minor=1)

    data(await erase(officer, anna))
    error(await erase(officer, ben), 409)

    listed = lines(town)
    assert listed[anna.id] == BECAUSE["reason"]
    assert ben.id not in listed
    (town.keys.folder.parent / "heads" / ERASED_USERS).unlink()
    await erasing.keep_to_list()
    rows = await superuser.fetch("SELECT user_id::text FROM identity.erasures")
    assert lines(town).keys() == {row[0] for row in rows}


async def test_whoever_a_backup_brings_back_is_erased_again(
    town: Town, officer: Townsman, superuser: Superuser, erasing: ErasePeople
) -> None:
    anna = await customer(town, "Anna")
    kept = [await rows_of(superuser, table, anna) for table in ("users", "person_keys")]
    data(await erase(officer, anna))
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute("DELETE FROM identity.erasures WHERE user_id = $1", UUID(anna.id))
    for table, rows in zip(("users", "person_keys"), kept, strict=True):
        await put_back(superuser, table, rows)
    await superuser.execute("SET session_replication_role = origin")

    await erasing.keep_to_list()

    assert error(await town.login(email=anna.email), 401)
    (key,) = await superuser.fetch(
        "SELECT wrapped FROM identity.person_keys WHERE user_id = $1", UUID(anna.id)
    )
    assert key["wrapped"] is None


class JammedEstates:
    """What winds up everybody's estate but one, whose rows were changed behind Guilder's back."""

    def __init__(self, jammed: UserId) -> None:
        self._jammed = jammed

    async def wind_up(self, tx: Tx, owner_id: UserId) -> datetime | None:
        if owner_id == self._jammed:
            raise LookupError("a wallet has no account")
        return None


async def test_one_who_cannot_be_erased_again_keeps_nobody_after_them(
    db: Database, town: Town, bank: Bank, superuser: Superuser
) -> None:
    anna, ben = await customer(town, "Anna"), await customer(town, "Ben")
    listed = terms(bank, town.keys).listed
    for one in (anna, ben):
        listed.add(Listed(person_id=UUID(one.id), reason="They asked for it."))
    jammed = ErasureTerms(
        estates=JammedEstates(user_id(anna)), retention=timedelta(), listed=listed
    )

    await erasing_on(jammed, db=db, town=town).keep_to_list()

    status = "SELECT status FROM identity.users WHERE id = $1"
    assert await superuser.fetchval(status, UUID(anna.id)) != "erased"
    assert await superuser.fetchval(status, UUID(ben.id)) == "erased"


async def test_whoever_comes_back_with_money_stays_until_it_is_gone(
    town: Town, officer: Townsman, bank: Bank, superuser: Superuser, erasing: ErasePeople
) -> None:
    anna = await customer(town, "Anna")
    wallet = await bank.open(user_id(anna), funds_minor=100)
    (town.keys.folder.parent / "heads").mkdir(exist_ok=True)
    ErasureList(town.keys.folder.parent / "heads", name=ERASED_USERS).add(
        Listed(person_id=UUID(anna.id), reason="By letter, before the backup.")
    )

    await erasing.keep_to_list()
    still_there = await town.login(email=anna.email)
    await bank.engine.pay(withdrawal(user_id(anna), wallet, amount_minor=100))
    await erasing.keep_to_list()

    data(still_there)
    assert error(await town.login(email=anna.email), 401)


async def rows_of(superuser: Superuser, table: str, person: Townsman) -> list[asyncpg.Record]:
    column = "id" if table == "users" else "user_id"
    found: list[asyncpg.Record] = await superuser.fetch(
        f"SELECT * FROM identity.{table} WHERE {column} = $1", UUID(person.id)
    )
    return found


async def put_back(superuser: Superuser, table: str, rows: list[asyncpg.Record]) -> None:
    """Rows as a restored backup has them."""
    for row in rows:
        columns = list(row.keys())
        key = columns[0]
        await superuser.execute(f"DELETE FROM identity.{table} WHERE {key} = $1", row[key])
        places = ", ".join(f"${number + 1}" for number in range(len(columns)))
        await superuser.execute(
            f"INSERT INTO identity.{table} ({', '.join(columns)}) VALUES ({places})", *row.values()
        )
