"""Codes that sign in are guessed at: from one address, and for one name."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import pytest

from guilder.identity import module
from guilder.identity.domain.lockout import Backoffs
from guilder.identity.service.code_sign_in import TOLD_AT
from guilder.identity.service.one_time_codes import PACES
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.portal import Resident, settle
from tests.support.postbag import Letterbox, sent_to, work_off
from tests.support.town import CHEAP, Town, data, error

Superuser = asyncpg.Connection
_addresses = (f"198.18.{third}.{fourth}" for third in range(256) for fourth in range(1, 255))


async def test_codes_for_many_names_at_once_get_no_further_than_one_after_the_other(
    town: Town,
) -> None:
    here = town.at(next(_addresses))
    most = Backoffs().address.at_once

    tried = await asyncio.gather(
        *(
            here.post("/auth/otp/verify", phone=f"+9198118{number:05}", otp="123456")
            for number in range(3 * most)
        )
    )

    statuses = Counter(answer.status_code for answer in tried)
    # the allowance grows by one every six seconds while they run
    assert most <= statuses[400] < most * 1.5
    assert set(statuses) == {400, 429}


async def test_a_code_that_was_right_is_given_back_to_its_address(
    town: Town, db: Database, superuser: Superuser
) -> None:
    here, anna = town.at(next(_addresses)), await settle(town, "Anna")
    mail = Letterbox(town=here, db=db, superuser=superuser, user_id=anna.id)
    await superuser.execute("DELETE FROM identity.sign_in_failures")

    data(await mail.sign_in(phone=anna.phone))

    assert await superuser.fetchval("SELECT sum(failures) FROM identity.sign_in_failures") == 0


async def guesses(town: Town, phone: str, *, times: int) -> list[int]:
    """The statuses of codes that nobody was sent, each from an address of its own."""
    return [
        (
            await town.at(next(_addresses)).post("/auth/otp/verify", phone=phone, otp="123456")
        ).status_code
        for _ in range(times)
    ]


@pytest.mark.parametrize("is_somebody", [True, False])
async def test_codes_for_one_name_have_to_wait_wherever_they_come_from(
    is_somebody: bool, town: Town, superuser: Superuser
) -> None:
    phone = (await settle(town, "Anna")).phone if is_somebody else "+919811700001"
    free = Backoffs().code.free

    tried = await guesses(town, phone, times=free + 2)
    refused = await town.post("/auth/otp/verify", phone=phone, otp="123456")

    assert tried == [400] * free + [429] * 2
    assert error(refused, 429)["code"] == "TOO_MANY_SIGN_INS"
    assert 0 < int(refused.headers["retry-after"]) <= 30


async def test_a_right_code_forgets_the_wrong_ones_and_passwords_are_counted_apart(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    mail = Letterbox(town=town, db=db, superuser=superuser, user_id=anna.id)
    free = Backoffs().code.free
    await guesses(town, anna.phone, times=free - 1)
    # a code of its own, since the first has borne its five guesses
    await superuser.execute("DELETE FROM identity.one_time_codes")

    data(await mail.sign_in(phone=anna.phone))

    assert await guesses(town, anna.phone, times=free) == [400] * free
    assert (await town.login(phone=anna.phone, password="WrongPass123")).status_code == 401


async def test_whoever_has_the_name_is_told_once_and_by_a_job(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    await superuser.execute("DELETE FROM platform.jobs")
    for phone in (anna.phone, "+919811700002"):
        await guesses(town, phone, times=TOLD_AT + 2)
    before = await told(superuser, anna)

    left = await superuser.fetchval(
        "SELECT count(*) FROM platform.jobs WHERE task = 'identity.tell_of_guesses'"
    )
    identity = module.build(
        db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder), password_cost=CHEAP
    )
    await work_off(db, identity.tasks)

    assert left == 2
    assert (before, await told(superuser, anna)) == (0, 1)


async def told(superuser: Superuser, anna: Resident) -> int:
    count: int = await superuser.fetchval(
        "SELECT count(*) FROM platform.outbox WHERE key = $1 "
        "AND type = 'com.guilder.user.sign_in_codes_guessed'",
        str(anna.id),
    )
    return count


async def test_twenty_codes_are_sent_within_a_day(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settle(town, "Anna")
    mail = Letterbox(town=town, db=db, superuser=superuser, user_id=anna.id)

    for _ in range(max(PACES) + 5):
        await superuser.execute(
            "UPDATE identity.code_issues SET issued_at = issued_at - interval '20 minutes'"
        )
        await mail.get("/auth/otp/request", phone=anna.phone)

    assert len(await sent_to(db, anna.id, keys=OuterKeys(town.keys.folder))) == max(PACES)


async def test_who_may_have_no_other_code_is_told_when(town: Town, superuser: Superuser) -> None:
    anna = await settle(town, "Anna")
    for _ in range(5):
        data(await anna.app.post("/auth/verify", contact="email"), 202)
        await superuser.execute(
            "UPDATE identity.code_issues SET issued_at = issued_at - interval '5 minutes'"
        )

    refused = await anna.app.post("/auth/verify", contact="email")

    assert error(refused, 429)["code"] == "TOO_MANY_CODES_SENT"
    assert 34 * 60 < int(refused.headers["retry-after"]) <= 35 * 60


async def test_a_remembered_device_enters_its_code_whatever_strangers_have_guessed(
    town: Town, db: Database, superuser: Superuser
) -> None:
    anna, ben = await settle(town, "Anna"), await settle(town, "Ben")
    devices = [
        data(await town.login(email=one.email, remember_device=True))["device_token"]
        for one in (anna, ben)
    ]
    await guesses(town, anna.phone, times=Backoffs().code.free + 1)
    mail = Letterbox(town=town, db=db, superuser=superuser, user_id=anna.id)
    # a code of its own, since the first has borne its five guesses
    await superuser.execute("DELETE FROM identity.one_time_codes")
    code = await mail.get("/auth/otp/request", phone=anna.phone)

    tried = [
        await town.post("/auth/otp/verify", phone=anna.phone, otp=code, **device)
        for device in ({}, {"device_token": devices[1]}, {"device_token": devices[0]})
    ]

    assert [answer.status_code for answer in tried] == [429, 429, 200]


async def test_codes_that_prove_an_address_have_to_wait_like_those_that_sign_in(
    town: Town, superuser: Superuser
) -> None:
    anna, ben = await settle(town, "Anna"), await settle(town, "Ben")
    free = Backoffs().code.free

    tried = [
        (await anna.app.post("/auth/verify", contact="email", otp="123456")).status_code
        for _ in range(free + 1)
    ]
    refused = await anna.app.post("/auth/verify", contact="email", otp="123456")
    others = await ben.app.post("/auth/verify", contact="email", otp="123456")

    assert tried == [400] * free + [429]
    assert error(refused, 429)["code"] == "TOO_MANY_SIGN_INS"
    assert error(others, 400)["code"] == "INVALID_OTP"
