"""Staff are appointed, and nothing of identity is done twice or undone."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from guilder.identity import module
from guilder.kernel.errors import ValidationFailed
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.residents import bearer, prove_email, sent
from tests.support.town import PASSWORD, ForgetfulDatabase, Town, data, founded

Superuser = asyncpg.Connection


async def test_admin_is_created_and_signs_in(db: Database, town: Town) -> None:
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    assert await staff.registered("lena@guilder.test") is None

    appointed = await staff.appoint(
        email="lena@guilder.test", role="admin", full_name="Lena Berg", password="NewSecurePass456"
    )

    assert appointed.created
    found = await staff.registered("LENA@guilder.test")
    assert found is not None
    assert found.id == appointed.user_id
    login = data(await town.login(email="lena@guilder.test", password="NewSecurePass456"))
    assert (login["user"]["roles"], login["user"]["account_type"]) == (["admin"], "staff")
    assert login["user"]["customer_id"] is None
    assert (await town.verifier.verify(login["token"])).may("ledger:write")


async def test_customer_is_promoted_and_keeps_the_password(
    db: Database, town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Mira", "+919876500700"), 201)
    await prove_email(superuser, user["id"])
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))

    first = await staff.appoint(email="Mira@example.com", role="admin", password="Another-Pass-1")
    again = await staff.appoint(email="mira@example.com", role="admin")

    assert (first.created, again.created, str(first.user_id)) == (False, False, user["id"])
    login = data(await town.login(email="mira@example.com"))
    assert login["user"]["roles"] == ["admin", "customer"]
    admin = data(await town.login(email="mira@example.com", account_type="user_admin"))
    assert admin["user"]["roles"] == ["user_admin"]


async def test_nobody_becomes_staff_by_having_registered_with_an_email_first(
    db: Database, town: Town
) -> None:
    data(await town.register("Anna", "+919876500701"), 201)
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))

    with pytest.raises(ValidationFailed) as refused:
        await staff.appoint(email="anna@example.com", role="admin", password="Another-Pass-1")

    assert "not proved" in str(refused.value.details["fields"])
    assert data(await town.login(email="anna@example.com"))["user"]["roles"] == ["customer"]


async def test_frozen_user_is_not_promoted(db: Database, town: Town, superuser: Superuser) -> None:
    user = data(await town.register("Ben", "+919876500702"), 201)
    await prove_email(superuser, user["id"])
    await superuser.execute(
        "UPDATE identity.users SET status = 'frozen' WHERE id = $1", UUID(user["id"])
    )
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))

    with pytest.raises(ValidationFailed) as refused:
        await staff.appoint(email="ben@example.com", role="admin")

    assert refused.value.details["fields"] == {"email": "is a frozen user's"}


async def test_who_becomes_staff_is_signed_out_and_why_is_told(
    db: Database, town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Clara", "+919876500703"), 201)
    await prove_email(superuser, user["id"])
    token = data(await town.login(email="clara@example.com"))["token"]
    client = await town.http.post(
        "/api/v1/oauth/clients",
        json={"name": "Bookkeeping", "scopes": ["wallets:read"]},
        headers=bearer(token),
    )
    data(client, 201)
    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))

    for _ in "12":
        await staff.appoint(email="clara@example.com", role="admin", reason="She runs the house.")

    facts = {type_: json.loads(fact) for type_, fact in await sent(superuser, user["id"])}
    assert (await town.http.get("/api/v1/auth/me", headers=bearer(token))).status_code == 401
    assert facts["sessions_ended"]["reason"] == "appointed"
    assert "com.guilder.client.removed" in facts
    assert facts["role_assigned"]["by"] is None
    assert facts["role_assigned"]["personal"] == {"reason": "She runs the house."}
    token = data(await town.login(email="clara@example.com"))["token"]
    await staff.appoint(email="clara@example.com", role="support")
    assert (await town.http.get("/api/v1/auth/me", headers=bearer(token))).status_code == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password": "password1"}, "password"),
        ({"password": None}, "password"),
        ({"full_name": None}, "full_name"),
        ({"email": "nils"}, "email"),
        ({"role": "customer"}, "role"),
        ({"role": "emperor"}, "role"),
    ],
)
async def test_weak_or_unknown_appointment_is_refused(
    changes: dict[str, Any], field: str, db: Database, town: Town
) -> None:
    good = {
        "email": "nils@guilder.test",
        "role": "admin",
        "full_name": "Nils Berg",
        "password": PASSWORD,
    }

    staff = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    with pytest.raises(ValidationFailed) as refused:
        await staff.appoint(**{**good, **changes})

    assert set(refused.value.details["fields"]) == {field}  # type: ignore[call-overload] # a dict


async def test_application_deletes_no_user_and_rewrites_no_account(db: Database) -> None:
    may = await db.fetchrow(
        "SELECT has_table_privilege('identity.users', 'DELETE, TRUNCATE') AS deletes, "
        "has_any_column_privilege('identity.accounts', 'UPDATE') "
        "OR has_table_privilege('identity.accounts', 'DELETE, TRUNCATE') AS rewrites, "
        "has_any_column_privilege('identity.role_assignments', 'UPDATE') AS reassigns"
    )

    assert may is not None
    assert dict(may) == {"deletes": False, "rewrites": False, "reassigns": False}


async def test_lost_answer_to_a_commit_doubles_nothing(
    forgetful: ForgetfulDatabase, superuser: Superuser, town: Town
) -> None:
    async with founded(forgetful, town.keys) as shaky:
        user = data(await shaky.register("Omar", "+919876500800"), 201)
        data(await shaky.login(email="omar@example.com"))
    await prove_email(superuser, user["id"])
    staff = module.build_staff(db=forgetful, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    await staff.appoint(email="omar@example.com", role="support")
    created = await staff.appoint(
        email="petra@guilder.test", role="support", full_name="Petra Berg", password=PASSWORD
    )

    rows = await superuser.fetch(
        "SELECT key, type FROM platform.outbox WHERE key = ANY($1::text[]) ORDER BY key, type",
        [user["id"], str(created.user_id)],
    )
    assert created.created
    assert [(row["key"], row["type"].removeprefix("com.guilder.user.")) for row in rows] == [
        (user["id"], "contact_changed"),
        (user["id"], "logged_in"),
        (user["id"], "registered"),
        (user["id"], "role_assigned"),
        (user["id"], "sessions_ended"),
        (str(created.user_id), "contact_changed"),
        (str(created.user_id), "role_assigned"),
    ]
