"""A link that an email made signs nobody in who has become staff since."""

from __future__ import annotations

import asyncpg

from guilder.platform.db import Database
from tests.support.browser import Browser, linked
from tests.support.stranger import Person
from tests.support.town import Town, data, error
from tests.support.townhall import Townsman, customer, proved, staff

Superuser = asyncpg.Connection


async def appoint(admin: Townsman, user_id: str, role: str) -> None:
    path = f"/admin/users/{user_id}/role"
    data(await admin.ask("PATCH", path, role=role, reason="Joined the support team."))


async def test_a_link_by_email_waits_as_long_as_its_user_is_staff(
    city: Town, anybody: Person, db: Database, superuser: Superuser
) -> None:
    anna, admin = await customer(city), await staff(city, db, "admin")
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", anna.id
    )
    anybody.email = anna.email
    data(await Browser(city).sign_in("google"))

    await appoint(admin, anna.id, "support")
    refused = await Browser(city).sign_in("google")
    await appoint(admin, anna.id, "customer")

    assert error(refused, 403)["code"] == "NOT_LINKED"
    assert data(await Browser(city).sign_in("google"))["user"]["id"] == anna.id


async def test_a_link_of_the_users_own_goes_on_though_they_become_staff(
    city: Town, anybody: Person, db: Database
) -> None:
    anna = await linked(city)
    await proved(anna.id, db=db)
    await appoint(await staff(city, db, "admin"), anna.id, "support")

    assert data(await Browser(city).sign_in("google"))["user"]["id"] == anna.id
