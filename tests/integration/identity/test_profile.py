"""People change their own name, and nothing else of themselves."""

from __future__ import annotations

from base64 import b64decode
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import msgspec
import pytest

from guilder.identity.events import (
    PersonalDetails,
    contact_place,
)
from guilder.kernel.ids import UserId
from guilder.platform.envelopes import OuterKeys
from tests.support.town import Town, data, error

Superuser = asyncpg.Connection
_numbers = iter(range(10_000, 99_999))


async def token_of(town: Town, name: str, **more: object) -> str:
    """A token of a new user."""
    data(await town.register(name, f"+9198763{next(_numbers)}"), 201)
    login = data(await town.login(email=f"{name.lower()}@example.com", **more))
    token: str = login["token"]
    return token


async def change(town: Town, token: str, body: dict[str, Any]) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await town.http.patch("/api/v1/auth/me", json=body, headers=headers)


async def details(town: Town, superuser: Superuser, user_id: str) -> list[PersonalDetails]:
    """What whoever writes to a user was told of them, in order."""
    rows = await superuser.fetch(
        "SELECT data FROM platform.outbox WHERE key = $1 AND type LIKE '%contact_changed' "
        "ORDER BY transaction, position",
        user_id,
    )
    keys, place = OuterKeys(town.keys.folder), contact_place(UserId(UUID(user_id)))
    sealed = [b64decode(msgspec.json.decode(row["data"])["sealed"]) for row in rows]
    return [
        msgspec.json.decode(keys.unwrap(each, at=place), type=PersonalDetails) for each in sealed
    ]


async def test_a_new_name_is_kept_and_told(superuser: Superuser, town: Town) -> None:
    token = await token_of(town, "Uma")

    me = data(await change(town, token, {"full_name": "  Uma Devi "}))

    assert me["full_name"] == "Uma Devi"
    assert data(await town.me(token)) == me
    told = await details(town, superuser, me["id"])
    assert [each.full_name for each in told] == ["Uma Rao", "Uma Devi"]
    assert told[0].email == told[1].email == "uma@example.com"


async def test_the_same_name_again_is_told_to_nobody(superuser: Superuser, town: Town) -> None:
    token = await token_of(town, "Usha")

    me = data(await change(town, token, {"full_name": "Usha Rao"}))

    assert len(await details(town, superuser, me["id"])) == 1


async def test_all_accounts_of_a_user_have_the_one_name(town: Town) -> None:
    token = await token_of(town, "Utpal", account_type="user_admin")

    data(await change(town, token, {"full_name": "Utpal Sen"}))

    login = data(await town.login(email="utpal@example.com"))
    assert login["user"]["full_name"] == "Utpal Sen"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"full_name": ""},
        {"full_name": "   "},
        {"full_name": None},
        {"full_name": 7},
        {"full_name": "x" * 10_000},
        {"full_name": "Anna\u202eRao"},
        {"full_name": "Anna\u0000Rao"},
        {"full_name": "Anna Rao", "role": "admin"},
        {"full_name": "Anna Rao", "roles": ["admin"]},
        {"full_name": "Anna Rao", "status": "active"},
        {"full_name": "Anna Rao", "account_type": "staff"},
        {"full_name": "Anna Rao", "email": "ben@example.com"},
        {"full_name": "Anna Rao", "phone": "+919876500000"},
        {"full_name": "Anna Rao", "kyc": {"status": "verified"}},
        {"full_name": "Anna Rao", "id": "00000000-0000-7000-8000-000000000000"},
    ],
    ids=repr,
)
async def test_nothing_but_a_proper_name_is_taken(body: dict[str, Any], town: Town) -> None:
    token = await token_of(town, f"Vani{next(_numbers)}")
    before = data(await town.me(token))

    found = error(await change(town, token, body), 400)

    assert found["code"] in {"VALIDATION_ERROR", "BAD_REQUEST"}
    assert data(await town.me(token)) == before
