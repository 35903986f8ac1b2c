"""Whoever registers with the email of somebody else keeps no quiet way in once it is proved."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest_asyncio

from guilder.identity import module
from guilder.identity.service.first_proofs import prove
from guilder.identity.service.one_time_codes import PAUSE
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser, linked
from tests.support.enrolled import Resident, settled
from tests.support.postbag import Sent, sent_to, work_off
from tests.support.town import CHEAP, Town, data, error
from tests.support.townhall import Townsman, staff

Superuser = asyncpg.Connection

EPOCH = "SELECT sign_in_epoch FROM identity.users WHERE id = $1"
ENDED = """
    SELECT count(*) FROM platform.outbox WHERE key = $1 AND type IN (
        'com.guilder.user.outside_identity_unlinked', 'com.guilder.client.removed'
    )
"""

RECLAIMED = """
    SELECT count(*) FROM platform.outbox WHERE key = $1 AND type = 'com.guilder.user.reclaimed'
"""


async def delivered(town: Town, db: Database, user_id: str) -> list[Sent]:
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    await work_off(db, identity.tasks)
    return await sent_to(db, UserId(UUID(user_id)), keys=keys)


async def reset(town: Town, db: Database, person: Townsman, *, new: str = "QuietHarbour77") -> None:
    """Set a password as whoever reads the mail of this address."""
    data(await town.post("/auth/forgot", email=person.email), 202)
    token = (await delivered(town, db, person.id))[-1].code
    data(await town.post("/auth/reset", token=token, new_password=new))


def known_as(person: Resident, *, token: str = "") -> Townsman:
    return Townsman(
        town=person.town, id=str(person.user_id), email=person.email, phone=None, token=token
    )


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
    assert await superuser.fetchval(RECLAIMED, squatter.id) == 1


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


async def test_a_phone_opens_nothing_once_the_email_is_proved_by_somebody_else(
    city: Town, db: Database, squatter: Townsman, superuser: Superuser
) -> None:
    named = {"phone": squatter.phone}
    data(await city.post("/auth/otp/request", **named), 202)
    code = (await delivered(city, db, squatter.id))[-1].code
    data(await city.post("/auth/otp/verify", **named, otp=code))
    await superuser.execute(
        "UPDATE identity.code_issues SET issued_at = issued_at - $1::interval", PAUSE
    )
    data(await city.post("/auth/otp/request", **named), 202)
    asked_before = (await delivered(city, db, squatter.id))[-1].code

    await reset(city, db, squatter)

    late = await city.post("/auth/otp/verify", **named, otp=asked_before)
    assert error(late, 400)["code"] == "INVALID_OTP"
    await superuser.execute(
        "UPDATE identity.code_issues SET issued_at = issued_at - $1::interval", PAUSE
    )
    before = await delivered(city, db, squatter.id)
    data(await city.post("/auth/otp/request", **named), 202)
    assert await delivered(city, db, squatter.id) == before


async def test_a_phone_is_not_proved_by_a_code_that_waited_for_the_reset(
    city: Town, db: Database, squatter: Townsman, superuser: Superuser
) -> None:
    user_id = UserId(UUID(squatter.id))
    epoch = await superuser.fetchval(EPOCH, squatter.id)

    await reset(city, db, squatter)

    assert not await db.run(lambda tx: prove(tx, user_id, contact="phone", epoch=epoch))
    assert await db.run(lambda tx: prove(tx, user_id, contact="phone", epoch=epoch + 1))


async def test_second_factors_of_whoever_had_not_proved_the_email_end(
    city: Town, db: Database, superuser: Superuser
) -> None:
    squatter = await settled(city, superuser)
    await squatter.enroll()
    await squatter.add_passkey(Authenticator())

    await reset(city, db, known_as(squatter))

    answer = data(await squatter.sign_in(password="QuietHarbour77"))
    owner = known_as(squatter, token=answer["token"])
    assert data(await owner.ask("GET", "/auth/passkeys")) == []
    assert (await squatter.events()).count("second_factor_removed") == 2


async def test_second_factors_stay_when_the_email_had_been_proved(
    city: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settled(city, superuser)
    await anna.enroll()
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", anna.user_id
    )

    await reset(city, db, known_as(anna))

    assert "challenge" in data(await anna.sign_in(password="QuietHarbour77"), 202)


async def test_second_factors_of_staff_stay_whoever_has_their_mailbox(
    city: Town, db: Database, superuser: Superuser
) -> None:
    officer = await staff(city, db, "compliance")
    ben = Resident(
        town=city,
        email=officer.email,
        user_id=UUID(officer.id),
        token=officer.token,
        database=superuser,
    )
    await ben.enroll()

    await reset(city, db, officer)

    assert "challenge" in data(await ben.sign_in(password="QuietHarbour77"), 202)
