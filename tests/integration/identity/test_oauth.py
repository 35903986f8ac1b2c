"""OAuth by the book: tokens for client credentials, introspection, revocation, discovery."""

from __future__ import annotations

from time import time

import pytest

from guilder.kernel.errors import Unauthenticated
from guilder.platform.db import Database
from tests.support.machines import (
    FORM,
    Machine,
    appoint,
    machine,
    make_client,
    post_form,
    send,
    signed_in,
    token_of,
)
from tests.support.town import Town, data

GRANT = "client_credentials"


@pytest.fixture(scope="module")
async def client(town: Town) -> Machine:
    _, token = await signed_in(town, "Oma", "+919876502001")
    return await make_client(town, token, "wallets:read", "payments:read")


async def test_credentials_in_the_header_or_the_body_get_a_token(
    town: Town, client: Machine
) -> None:
    in_header = await post_form(town, "token", by=client, grant_type=GRANT)
    in_body = await post_form(
        town, "token", grant_type=GRANT, client_id=client.id, client_secret=client.secret
    )

    for answer in (in_header, in_body):
        assert answer.status_code == 200, answer.text
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
        assert body["scope"] == "payments:read wallets:read"
        assert await town.verifier.verify(body["access_token"])


async def test_a_token_has_the_scopes_that_were_asked_for(town: Town, client: Machine) -> None:
    token = await token_of(town, client, scope="wallets:read")

    assert (await town.verifier.verify(token)).permissions == {"wallets:read"}


@pytest.mark.parametrize(
    ("fields", "status", "name"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"grant_type": GRANT, "scope": "ledger:write"}, 400, "invalid_scope"),
        ({"grant_type": GRANT, "scope": "wallets:read  payments:read"}, 400, "invalid_scope"),
        ({"grant_type": GRANT, "client_secret": "twice"}, 400, "invalid_request"),
    ],
    ids=str,
)
async def test_errors_have_the_names_of_the_standard(
    town: Town, client: Machine, fields: dict[str, str], status: int, name: str
) -> None:
    answer = await post_form(town, "token", by=client, **fields)

    assert (answer.status_code, answer.json()["error"]) == (status, name)
    assert answer.json()["error_description"]


async def test_unknown_parameters_are_ignored(town: Town, client: Machine) -> None:
    assert await token_of(town, client, resource="https://bank.example", audience="x")


async def test_nobodys_credentials_are_all_answered_alike(town: Town, client: Machine) -> None:
    other = "0190c0de-0000-7000-8000-000000000001"
    answers = [
        await post_form(town, "token", grant_type=GRANT),
        await post_form(town, "token", by=Machine(id=client.id, secret="x"), grant_type=GRANT),
        await post_form(
            town, "token", by=Machine(id=other, secret=client.secret), grant_type=GRANT
        ),
        await post_form(town, "token", by=Machine(id="me", secret="x"), grant_type=GRANT),
    ]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["error"] == "invalid_client"
    assert answers[0].headers["www-authenticate"] == 'Basic realm="oauth"'


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b'{"grant_type": "client_credentials"}', "application/json"),
        (b"grant_type=client_credentials&grant_type=password", FORM),
        (b"grant_type=%ff", FORM),
        (b"grant_type=%zz", FORM),
        (b"grant_type=client_credentials%00", FORM),
        (b"grant_type=" + b"x" * 5000, FORM),
        (b"grant_type=client_credentials", f"{FORM}; charset=latin-1"),
    ],
    ids=repr,
)
async def test_what_is_no_form_is_an_invalid_request(
    town: Town, client: Machine, content: bytes, content_type: str
) -> None:
    answer = await town.http.post(
        "/api/v1/oauth/token",
        content=content,
        headers={"Authorization": client.basic, "Content-Type": content_type},
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_client_looks_at_its_own_token(town: Town, client: Machine) -> None:
    token = await token_of(town, client, scope="wallets:read")

    seen = (await post_form(town, "introspect", by=client, token=token)).json()

    assert (seen["active"], seen["scope"], seen["account_type"]) == (
        True,
        "wallets:read",
        "client",
    )
    assert seen["client_id"] == seen["sub"] == client.id
    assert seen["iat"] <= time() < seen["exp"] == seen["iat"] + 900


async def test_other_peoples_tokens_are_not_active_for_a_client(
    town: Town, client: Machine
) -> None:
    _, token = await signed_in(town, "Omkar", "+919876502002")
    other = await make_client(town, token, "wallets:read")

    for foreign in (token, await token_of(town, other), "no token", "a.b.c"):
        seen = await post_form(town, "introspect", by=client, token=foreign)
        assert (seen.status_code, seen.json()) == (200, {"active": False})


async def test_a_service_that_may_introspect_sees_whose_any_token_is(
    town: Town, db: Database
) -> None:
    user_id, _ = await signed_in(town, "Ojas", "+919876502003")
    await appoint(db, user_id, "admin")
    token = data(await town.login(email="ojas@example.com"))["token"]
    body = {"name": "Gate", "scopes": ["tokens:introspect"], "reason": "It checks tokens"}
    made = data(await send(town, "POST", "/admin/oauth/clients", token=token, body=body), 201)

    seen = (await post_form(town, "introspect", by=machine(made), token=token)).json()

    assert (seen["active"], seen["sub"], seen["account_type"]) == (True, user_id, "customer")
    assert "client_id" not in seen
    assert "wallets:read" in seen["scope"].split()


async def test_a_revoked_token_ends_at_once_and_no_other(town: Town, client: Machine) -> None:
    token, other = await token_of(town, client), await token_of(town, client)

    first = await post_form(town, "revoke", by=client, token=token)
    again = await post_form(town, "revoke", by=client, token=token)
    unknown = await post_form(town, "revoke", by=client, token="nothing")

    assert (first.status_code, again.status_code, unknown.status_code) == (200, 200, 200)
    with pytest.raises(Unauthenticated):
        await town.verifier.verify(token)
    assert (await post_form(town, "introspect", by=client, token=token)).json() == {"active": False}
    assert await town.verifier.verify(other)


async def test_somebody_elses_token_is_not_revoked(town: Town, client: Machine) -> None:
    _, token = await signed_in(town, "Omar", "+919876502004")

    answer = await post_form(town, "revoke", by=client, token=token)

    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert await town.verifier.verify(token)


@pytest.mark.parametrize("path", ["introspect", "revoke"])
async def test_without_a_token_there_is_nothing_to_look_at(
    town: Town, client: Machine, path: str
) -> None:
    answer = await post_form(town, path, by=client)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["introspect", "revoke"])
async def test_only_clients_look_at_tokens_and_end_them(town: Town, path: str) -> None:
    _, token = await signed_in(town, f"Otto{path}", f"+91987650201{len(path) % 10}")

    answer = await town.http.post(
        f"/api/v1/oauth/{path}",
        data={"token": token},
        headers={"Authorization": f"Bearer {token}"},
    )

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_the_discovery_document_says_what_there_is(town: Town, client: Machine) -> None:
    names = ("openid-configuration", "oauth-authorization-server")
    documents = [(await town.http.get(f"/.well-known/{name}")).json() for name in names]

    found = documents[0]
    assert documents[1] == found
    answered = await town.http.post(
        found["token_endpoint"],
        data={"grant_type": found["grant_types_supported"][0]},
        headers={"Authorization": client.basic},
    )
    token = answered.json()["access_token"]
    for name in ("introspection_endpoint", "revocation_endpoint"):
        used = await town.http.post(
            found[name], data={"token": token}, headers={"Authorization": client.basic}
        )
        assert used.status_code == 200
    assert (await town.http.get(found["jwks_uri"])).json()["keys"]
    assert {"wallets:read", "payments:write"} <= set(found["scopes_supported"])
    assert found["id_token_signing_alg_values_supported"] == ["ES256"]
    assert "authorization_endpoint" not in found
