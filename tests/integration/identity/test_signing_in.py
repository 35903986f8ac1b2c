"""Signing in, who am I, and the public keys, over HTTP and on a real database."""

from __future__ import annotations

from pathlib import Path
from time import time

import asyncpg
import pytest

from guilder.kernel.errors import Unauthenticated
from guilder.platform.access_tokens import AccessClaims, sign
from guilder.platform.auth import AUDIENCE, ISSUER, TokenVerifier
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import ROLES
from guilder.platform.remote_keys import RemoteKeys
from tests.support.standing import nothing_revoked
from tests.support.town import PASSWORD, Town, data, error

Superuser = asyncpg.Connection


async def test_login_answers_a_token_that_names_the_user(town: Town) -> None:
    user = data(await town.register("Ben", "+919876500004"), 201)

    login = data(await town.login(email="BEN@Example.com"))

    assert login["token"] == login["access_token"]
    assert (login["token_type"], login["expires_in"]) == ("Bearer", 900)
    assert abs(login["expires_at"] - (time() + 900)) < 60
    assert {name: login["user"][name] for name in ("id", "email", "phone", "full_name")} == {
        name: user[name] for name in ("id", "email", "phone", "full_name")
    }
    assert (login["user"]["status"], login["user"]["roles"]) == ("pending", ["customer"])
    caller = await town.verifier.verify(login["token"])
    assert (str(caller.user_id), str(caller.customer_id)) == (user["id"], user["id"])
    assert caller.permissions == ROLES["customer"]


async def test_login_writes_a_session_and_an_event(town: Town, superuser: Superuser) -> None:
    user = data(await town.register("Bela", "+919876500005"), 201)

    login = data(await town.login(email="bela@example.com"))

    session_id = (await town.verifier.verify(login["token"])).session_id
    session = await superuser.fetchrow("SELECT * FROM identity.sessions WHERE id = $1", session_id)
    assert session is not None
    assert str(session["account_id"]) == user["id"]
    assert int(session["expires_at"].timestamp()) == login["refresh_expires_at"]
    types = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 ORDER BY transaction, position", user["id"]
    )
    assert [row["type"] for row in types] == [
        "com.guilder.user.contact_changed",
        "com.guilder.user.registered",
        "com.guilder.user.logged_in",
    ]


async def test_phone_signs_in_as_well_as_email(town: Town) -> None:
    user = data(await town.register("Bina", "+919876500006"), 201)

    login = data(await town.login(phone="98765 00006"))

    assert login["user"]["id"] == user["id"]


async def test_user_admin_signs_in_with_the_same_credentials(town: Town) -> None:
    user = data(await town.register("Bodhi", "+919876500007"), 201)

    login = data(await town.login(email="bodhi@example.com", account_type="user_admin"))

    assert login["user"]["id"] != user["id"]
    assert login["user"]["customer_id"] == user["id"]
    caller = await town.verifier.verify(login["token"])
    assert (caller.account_type, caller.permissions) == ("user_admin", ROLES["user_admin"])
    assert str(caller.customer_id) == user["id"]


async def test_wrong_credentials_are_answered_alike(town: Town) -> None:
    data(await town.register("Cara", "+919876500008"), 201)

    answers = [
        await town.login(email="cara@example.com", password="WrongPass123"),
        await town.login(email="nobody@example.com"),
        await town.login(email="no address at all"),
        await town.login(phone="+919876599999"),
        await town.login(phone="12"),
        await town.login(email="cara@example.com", account_type="staff"),
        await town.login(email="cara@example.com", password="x"),
    ]

    errors = [error(answer, 401) for answer in answers]
    assert len({(found["code"], found["message"]) for found in errors}) == 1
    assert errors[0]["code"] == "UNAUTHORIZED"
    assert not any("details" in found for found in errors)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "anna@example.com"},
        {"password": PASSWORD},
        {"email": "anna@example.com", "phone": "+919876500001", "password": PASSWORD},
        {"email": "anna@example.com", "password": ""},
        {"email": "anna@example.com", "password": 12345678},
        {"email": "anna@example.com", "password": "x" * 10_000},
        {"email": "anna@example.com", "password": "a\u0085b"},
        {"email": "a\u0085b", "password": PASSWORD},
        {"email": "x" * 10_000, "password": PASSWORD},
        {"phone": "9" * 10_000, "password": PASSWORD},
        {"email": "anna@example.com", "password": PASSWORD, "account_type": "root"},
        {"email": "anna@example.com", "password": PASSWORD, "role": "admin"},
    ],
    ids=repr,
)
async def test_unreadable_login_is_a_clear_refusal(body: dict[str, object], town: Town) -> None:
    found = error(await town.post("/auth/login", **body), 400)

    assert found["code"] == "VALIDATION_ERROR"
    assert found["details"]["fields"]


async def test_me_answers_the_callers_own_account(town: Town) -> None:
    user = data(await town.register("Hari", "+919876500400"), 201)
    token = data(await town.login(email="hari@example.com"))["token"]

    me = data(await town.me(token))

    assert {name: me[name] for name in user} == user
    assert (me["roles"], me["account_type"]) == (["customer"], "customer")
    assert me["customer_id"] == user["id"]


async def test_me_of_a_user_admin_is_the_paired_account(town: Town) -> None:
    user = data(await town.register("Indu", "+919876500401"), 201)
    login = data(await town.login(email="indu@example.com", account_type="user_admin"))

    me = data(await town.me(login["token"]))

    assert (me["id"], me["customer_id"]) == (login["user"]["id"], user["id"])
    assert me["roles"] == ["user_admin"]


async def test_me_asks_for_a_token(town: Town) -> None:
    assert error(await town.me("nonsense"), 401)["code"] == "UNAUTHORIZED"
    assert error(await town.http.get("/api/v1/auth/me"), 401)["code"] == "UNAUTHORIZED"


async def test_token_of_an_account_that_is_not_there_is_refused(town: Town) -> None:
    now = int(time())
    claims = AccessClaims(
        iss=ISSUER,
        aud=AUDIENCE,
        sub=new_id(),
        jti=new_id(),
        iat=now,
        exp=now + 900,
        account_type="customer",
        roles=("customer",),
    )

    token = sign(claims, key=await town.keys.signing_key())

    assert error(await town.me(token), 401)["code"] == "UNAUTHORIZED"


async def test_other_process_verifies_tokens_by_the_published_keys(town: Town) -> None:
    data(await town.register("Jaya", "+919876500500"), 201)
    token = data(await town.login(email="jaya@example.com"))["token"]
    url = "http://guilder.test/.well-known/jwks.json"
    elsewhere = TokenVerifier(RemoteKeys(url, client=town.http), standing=nothing_revoked())

    caller = await elsewhere.verify(token)

    assert caller.account_type == "customer"
    with pytest.raises(Unauthenticated):
        await elsewhere.verify(token[:-90] + token[-86:])


async def test_published_keys_are_public_and_may_be_cached(town: Town) -> None:
    answer = await town.http.get("/.well-known/jwks.json")

    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert key["kid"] == (await town.keys.signing_key()).kid
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["content-type"] == "application/json"


async def test_tokens_of_a_rotated_key_still_verify(
    db: Database, tmp_path: Path, town: Town
) -> None:
    data(await town.register("Kiran", "+919876500600"), 201)
    token = data(await town.login(email="kiran@example.com"))["token"]

    added = town.keys.rotate()

    published = (await town.http.get("/.well-known/jwks.json")).json()["keys"]
    assert added.kid in {key["kid"] for key in published}
    assert await TokenVerifier(town.keys, standing=nothing_revoked()).verify(token)
