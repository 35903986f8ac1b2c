"""Registering, over HTTP and on a real database: who is admitted and who is not."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from uuid import UUID, uuid4

import asyncpg
import pytest

from guilder.identity.events import contact_place
from guilder.kernel.ids import UserId
from guilder.platform.envelopes import OuterKeys, Unreadable
from tests.support.town import GOOD, PASSWORD, Town, data, error

Superuser = asyncpg.Connection


async def test_registering_answers_the_pending_user(town: Town) -> None:
    user = data(await town.register("Anna", "+919876500001"), 201)

    assert set(user) == {"id", "email", "phone", "full_name", "status", "created_at", "kyc"}
    assert UUID(user["id"]).version == 7
    assert (user["email"], user["phone"]) == ("anna@example.com", "+919876500001")
    assert (user["full_name"], user["status"]) == ("Anna Rao", "pending")
    assert user["kyc"] == {"status": "pending"}
    assert user["created_at"].endswith("Z")


async def test_registering_makes_the_paired_account_and_tells_of_it(
    town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Asha", "+919876500002"), 201)

    accounts = await superuser.fetch(
        "SELECT id, type, array_agg(role) AS roles FROM identity.accounts "
        "JOIN identity.role_assignments ON account_id = id "
        "WHERE user_id = $1 GROUP BY id, type ORDER BY type",
        UUID(user["id"]),
    )
    events = await superuser.fetch(
        "SELECT type, data FROM platform.outbox WHERE key = $1 ORDER BY position", user["id"]
    )

    customer, user_admin = accounts
    assert (customer["type"], customer["roles"]) == ("customer", ["customer"])
    assert str(customer["id"]) == user["id"]
    assert (user_admin["type"], user_admin["roles"]) == ("user_admin", ["user_admin"])
    assert [event["type"] for event in events] == [
        "com.guilder.user.contact_changed",
        "com.guilder.user.registered",
    ]
    told = json.loads(events[1]["data"])
    assert set(told) == {"user_id", "user_admin_account_id", "registered_at"}
    assert told["user_admin_account_id"] == str(user_admin["id"])


async def test_the_contact_that_is_told_opens_with_the_key_folder_and_for_its_user_only(
    town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Usha", "+919876500004"), 201)

    written = await superuser.fetchval(
        "SELECT data::text FROM platform.outbox "
        "WHERE key = $1 AND type = 'com.guilder.user.contact_changed'",
        user["id"],
    )

    told = json.loads(written)
    keys, sealed = OuterKeys(town.keys.folder), b64decode(told["sealed"])
    opened = json.loads(keys.unwrap(sealed, at=contact_place(UserId(UUID(user["id"])))))
    assert opened == {
        "full_name": "Usha Rao",
        "email": "usha@example.com",
        "phone": "+919876500004",
    }
    assert (told["has_email"], told["has_phone"]) == (True, True)
    assert "usha" not in written.lower()
    with pytest.raises(Unreadable):
        keys.unwrap(sealed, at=contact_place(UserId(uuid4())))


async def test_password_is_stored_as_an_argon2id_hash_only(
    town: Town, superuser: Superuser
) -> None:
    user = data(await town.register("Arun", "+919876500003"), 201)

    row = await superuser.fetchval(
        "SELECT u::text FROM identity.users u WHERE id = $1", UUID(user["id"])
    )

    assert "$argon2id$v=19$" in row
    assert PASSWORD not in row


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ANNA.Twice@example.COM"}, "email"),
        ({"phone": "098765 00010"}, "phone"),
        ({"email": "anna.twice@example.com", "phone": "+919876500010"}, "email"),
    ],
)
async def test_email_and_phone_belong_to_one_user(
    changes: dict[str, str], field: str, town: Town
) -> None:
    await town.register("Anna.Twice", "+919876500010")

    answer = await town.post("/auth/register", **{**GOOD, **changes})

    found = error(answer, 409)
    assert found["code"] == "CONFLICT"
    assert found["details"] == {"field": field}
    assert field in found["message"]


async def test_one_of_twenty_concurrent_registrations_wins(
    town: Town, superuser: Superuser
) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM identity.users")

    answers = await asyncio.gather(
        *(town.register("Esha", f"+9198765001{number:02}") for number in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    assert await superuser.fetchval("SELECT count(*) FROM identity.users") == before + 1


async def test_one_of_twenty_concurrent_claims_to_a_phone_wins(town: Town) -> None:
    answers = await asyncio.gather(
        *(town.register(f"Farid{number}", "+919876500200") for number in range(20))
    )

    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]


BAD_VALUES: list[object] = [None, 7, 1.5, True, [], {}, "", "\0", "a\0b", "a\nb", "x" * 10_000]


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("field", GOOD)
async def test_bad_value_is_refused_and_nothing_is_stored(
    field: str, value: object, town: Town, superuser: Superuser
) -> None:
    before = await superuser.fetchval("SELECT count(*) FROM identity.users")

    answer = await town.post("/auth/register", **{**GOOD, field: value})

    assert error(answer, 400)["code"] in {"VALIDATION_ERROR", "BAD_REQUEST"}
    assert await superuser.fetchval("SELECT count(*) FROM identity.users") == before


@pytest.mark.parametrize("field", ["role", "roles", "status", "account_type", "id", "kyc"])
async def test_nobody_chooses_what_only_guilder_decides(field: str, town: Town) -> None:
    answer = await town.post("/auth/register", **{**GOOD, field: "admin"})

    assert field in error(answer, 400)["details"]["fields"]


@pytest.mark.parametrize("field", GOOD)
async def test_every_field_is_required(field: str, town: Town) -> None:
    answer = await town.post("/auth/register", **{k: v for k, v in GOOD.items() if k != field})

    assert field in error(answer, 400)["details"]["fields"]


async def test_lone_surrogate_is_refused(town: Town) -> None:
    body = json.dumps({**GOOD, "full_name": "Gita\ud800"})

    answer = await town.http.post(
        "/api/v1/auth/register", content=body, headers={"Content-Type": "application/json"}
    )

    assert error(answer, 400)["code"] in {"VALIDATION_ERROR", "BAD_REQUEST"}


async def test_every_wrong_field_is_named_in_one_answer(town: Town) -> None:
    answer = await town.post(
        "/auth/register", email="gita", phone="1", full_name=" ", password="password1"
    )

    assert set(error(answer, 400)["details"]["fields"]) == set(GOOD)
