"""Codes that sign in are guessed at: from one address, and for one name."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg

from guilder.identity.domain.lockout import Backoffs
from guilder.platform.db import Database
from tests.support.portal import settle
from tests.support.postbag import Letterbox
from tests.support.town import Town, data

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
