"""Machine clients over HTTP: people make their own, staff make the house's; secrets and ends."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from guilder.identity import module
from guilder.identity.service.clients import forget_clients
from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.http.route import Access
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from tests.support.machines import (
    Machine,
    appoint,
    machine,
    make_client,
    post_form,
    send,
    signed_in,
    token_of,
)
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.townhall import customer, staff

Superuser = asyncpg.Connection


async def test_a_user_makes_a_client_and_sees_its_secret_once(town: Town) -> None:
    user_id, token = await signed_in(town, "Mira", "+919876501001")
    body = {"name": "Books", "scopes": ["wallets:read", "payments:read"]}

    made = data(await send(town, "POST", "/oauth/clients", token=token, body=body), 201)

    assert made["user_id"] == user_id
    assert made["scopes"] == ["payments:read", "wallets:read"]
    assert made["client_secret"].startswith("guilder_secret_")
    listed = data(await send(town, "GET", "/oauth/clients", token=token))
    assert [client["client_id"] for client in listed] == [made["client_id"]]
    assert "client_secret" not in listed[0]


async def test_the_secret_is_nowhere_in_the_database(town: Town, superuser: Superuser) -> None:
    _, token = await signed_in(town, "Mukul", "+919876501002")

    client = await make_client(town, token, "wallets:read")

    row = await superuser.fetchval(
        "SELECT c::text FROM identity.clients c WHERE id = $1", client.id
    )
    events = await superuser.fetch("SELECT data::text FROM platform.outbox")
    assert client.secret not in row
    assert not [event for event in events if client.secret in event["data"]]


@pytest.mark.parametrize(
    ("scopes", "status", "code"),
    [
        (["ledger:write"], 403, "FORBIDDEN"),
        (["wallets:read", "nonsense:at_all"], 403, "FORBIDDEN"),
        (["clients:write"], 400, "VALIDATION_ERROR"),
        (["roles:write"], 400, "VALIDATION_ERROR"),
        (["verifications:read"], 400, "VALIDATION_ERROR"),
        (["wallets:read", "wallets:read"], 400, "VALIDATION_ERROR"),
        ([], 400, "VALIDATION_ERROR"),
    ],
    ids=str,
)
async def test_no_client_gets_what_it_must_not_have(
    town: Town, scopes: list[str], status: int, code: str
) -> None:
    await town.register("Mona", "+919876501003")
    token = data(await town.login(email="mona@example.com"))["token"]
    body = {"name": "Books", "scopes": scopes}

    answer = await send(town, "POST", "/oauth/clients", token=token, body=body)

    assert error(answer, status)["code"] == code


async def test_a_session_that_is_not_fresh_has_to_prove_itself_first(
    town: Town, superuser: Superuser
) -> None:
    _, token = await signed_in(town, "Mitra", "+919876501004")
    client = await make_client(town, token, "wallets:read")
    session_id = (await town.verifier.verify(token)).session_id
    await superuser.execute(
        "UPDATE identity.sessions SET started_at = started_at - interval '1 hour' WHERE id = $1",
        session_id,
    )
    body = {"name": "Books", "scopes": ["wallets:read"]}

    adding = await send(town, "POST", "/oauth/clients", token=token, body=body)
    path = f"/oauth/clients/{client.id}/rotate-secret"
    rotating = await send(town, "POST", path, token=token, body={})

    assert error(adding, 403)["code"] == "STEP_UP_REQUIRED"
    assert error(rotating, 403)["code"] == "STEP_UP_REQUIRED"


async def test_ten_clients_are_the_most_however_many_ask_at_once(town: Town) -> None:
    _, token = await signed_in(town, "Manu", "+919876501005")
    body = {"name": "Books", "scopes": ["wallets:read"]}

    answers = await asyncio.gather(
        *(send(town, "POST", "/oauth/clients", token=token, body=body) for _ in range(14))
    )

    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 4
    refused = [answer for answer in answers if answer.status_code == 409]
    assert {error(answer, 409)["code"] for answer in refused} == {"TOO_MANY_CLIENTS"}


async def test_a_rotated_secret_and_the_one_before_are_good_for_a_while(town: Town) -> None:
    _, token = await signed_in(town, "Meera", "+919876501006")
    client = await make_client(town, token, "wallets:read")

    path = f"/oauth/clients/{client.id}/rotate-secret"
    rotated = data(await send(town, "POST", path, token=token, body={}))

    assert rotated["client_secret"] != client.secret
    assert rotated["previous_secret_until"] > rotated["rotated_at"]
    assert await token_of(town, client)
    assert await token_of(town, machine(rotated))


async def test_a_leaked_secret_ends_at_once_and_its_tokens_with_it(town: Town) -> None:
    _, token = await signed_in(town, "Milan", "+919876501007")
    client = await make_client(town, token, "wallets:read")
    leaked = await token_of(town, client)

    path = f"/oauth/clients/{client.id}/rotate-secret"
    body = {"overlap_s": 0, "end_tokens": True}
    rotated = machine(data(await send(town, "POST", path, token=token, body=body)))

    with pytest.raises(Unauthenticated):
        await town.verifier.verify(leaked)
    refused = await post_form(town, "token", by=client, grant_type="client_credentials")
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert await town.verifier.verify(await token_of(town, rotated))


async def test_a_deleted_client_is_gone_with_its_tokens(town: Town) -> None:
    _, token = await signed_in(town, "Maya", "+919876501008")
    client = await make_client(town, token, "wallets:read")
    its_token = await token_of(town, client)
    assert str((await town.verifier.verify(its_token)).client_id) == client.id

    answer = await send(town, "DELETE", f"/oauth/clients/{client.id}", token=token)

    assert answer.status_code == 204
    with pytest.raises(Unauthenticated):
        await town.verifier.verify(its_token)
    refused = await post_form(town, "token", by=client, grant_type="client_credentials")
    assert refused.json()["error"] == "invalid_client"
    again = await send(town, "DELETE", f"/oauth/clients/{client.id}", token=token)
    assert error(again, 404)["code"] == "NOT_FOUND"


async def test_other_peoples_clients_are_not_there(town: Town) -> None:
    _, annas = await signed_in(town, "Madhu", "+919876501009")
    _, bens = await signed_in(town, "Mohan", "+919876501010")
    client = await make_client(town, annas, "wallets:read")
    path = f"/oauth/clients/{client.id}"

    rotating = await send(town, "POST", f"{path}/rotate-secret", token=bens, body={})
    deleting = await send(town, "DELETE", path, token=bens)

    assert error(rotating, 404)["code"] == error(deleting, 404)["code"] == "NOT_FOUND"
    assert data(await send(town, "GET", "/oauth/clients", token=bens)) == []
    assert await token_of(town, client)


async def test_a_client_acts_in_its_users_name_with_its_scopes_alone(town: Town) -> None:
    user_id, token = await signed_in(town, "Malti", "+919876501011")
    client = await make_client(town, token, "wallets:read", "payments:write")

    caller = await town.verifier.verify(await token_of(town, client))

    assert (str(caller.user_id), str(caller.customer_id)) == (user_id, user_id)
    assert str(caller.client_id) == str(caller.actor_id) == client.id
    assert caller.permissions == {"wallets:read", "payments:write"}
    assert (caller.account_type, caller.roles, caller.session_id) == ("client", frozenset(), None)


async def test_what_is_for_people_is_closed_to_clients(town: Town) -> None:
    _, token = await signed_in(town, "Mukta", "+919876501012")
    client = await make_client(town, token, "wallets:read", "wallets:write")
    its_token = await token_of(town, client)

    answers = [
        await send(town, "GET", "/auth/me", token=its_token),
        await send(town, "GET", "/auth/sessions", token=its_token),
        await send(town, "POST", "/auth/logout-all", token=its_token),
        await send(town, "GET", "/oauth/clients", token=its_token),
        await send(
            town,
            "POST",
            "/oauth/clients",
            token=its_token,
            body={"name": "More", "scopes": ["wallets:read"]},
        ),
    ]

    assert {error(answer, 403)["code"] for answer in answers} == {"FORBIDDEN"}


async def test_a_client_has_no_more_than_its_user_has_at_the_moment(
    town: Town, db: Database, superuser: Superuser
) -> None:
    user_id, _ = await signed_in(town, "Mansi", "+919876501013")
    await appoint(db, user_id, "support")
    token = data(await town.login(email="mansi@example.com"))["token"]
    client = await make_client(town, token, "wallets:read", "wallets:read_any")
    its_token = await token_of(town, client)
    assert (await town.verifier.verify(its_token)).may("wallets:read_any")

    await superuser.execute(
        "DELETE FROM identity.role_assignments WHERE account_id = $1 AND role = 'support'", user_id
    )
    later = await town.verifier.verify(await token_of(town, client))

    assert later.permissions == {"wallets:read"}
    asked = await post_form(
        town, "token", by=client, grant_type="client_credentials", scope="wallets:read_any"
    )
    assert (asked.status_code, asked.json()["error"]) == (400, "invalid_scope")


async def test_staff_make_clients_that_act_in_their_own_name(town: Town, db: Database) -> None:
    user_id, customer = await signed_in(town, "Mala", "+919876501014")
    await appoint(db, user_id, "admin")
    token = data(await town.login(email="mala@example.com"))["token"]
    body = {"name": "Reports", "scopes": ["payments:read_any"], "reason": "Month-end reports"}

    refused = await send(town, "POST", "/admin/oauth/clients", token=customer, body=body)
    made = data(await send(town, "POST", "/admin/oauth/clients", token=token, body=body), 201)
    caller = await town.verifier.verify(await token_of(town, machine(made)))

    assert error(refused, 403)["code"] == "FORBIDDEN"
    assert made["user_id"] is None
    assert str(caller.user_id) == str(caller.client_id) == made["client_id"]
    assert (caller.permissions, caller.customer_id) == ({"payments:read_any"}, None)
    listed = data(await send(town, "GET", "/admin/oauth/clients", token=token))
    assert made["client_id"] in [client["client_id"] for client in listed]
    path = f"/admin/oauth/clients/{made['client_id']}"
    assert (
        await send(town, "DELETE", path, token=token, body={"reason": "Done"})
    ).status_code == 204


async def test_a_token_is_refused_once_its_user_is_frozen(town: Town, superuser: Superuser) -> None:
    user_id, token = await signed_in(town, "Mahi", "+919876501015")
    client = await make_client(town, token, "wallets:read")
    await superuser.execute("UPDATE identity.users SET status = 'frozen' WHERE id = $1", user_id)

    refused = await post_form(town, "token", by=client, grant_type="client_credentials")

    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")


async def test_a_token_from_before_a_freeze_is_refused_after_it(town: Town, db: Database) -> None:
    anna = await customer(town)
    client = await make_client(town, anna.token, "wallets:read")
    before = await token_of(town, client)
    guard = await staff(town, db, "operations")
    for act in ("freeze", "unfreeze"):
        path = f"/admin/users/{anna.id}/{act}"
        data(await send(town, "POST", path, token=guard.token, body={"reason": "A stolen phone."}))

    with pytest.raises(Unauthenticated):
        await town.verifier.verify(before)
    assert (await town.verifier.verify(await token_of(town, client))).permissions == {
        "wallets:read"
    }


async def test_a_client_of_the_house_owns_nothing(town: Town, db: Database) -> None:
    boss = await staff(town, db, "admin")
    body = {"name": "Till", "scopes": ["payments:write"], "reason": "Pays suppliers."}

    refused = await send(town, "POST", "/admin/oauth/clients", token=boss.token, body=body)

    assert error(refused, 400)["details"]["fields"].keys() == {"scopes"}


async def test_what_is_done_to_clients_is_told(town: Town, superuser: Superuser) -> None:
    user_id, token = await signed_in(town, "Mohini", "+919876501016")
    client = await make_client(town, token, "wallets:read")
    await send(town, "POST", f"/oauth/clients/{client.id}/rotate-secret", token=token, body={})
    await send(town, "DELETE", f"/oauth/clients/{client.id}", token=token)

    rows = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 AND type LIKE 'com.guilder.client.%' "
        "ORDER BY transaction, position",
        user_id,
    )

    assert [row["type"].rpartition(".")[2] for row in rows] == [
        "added",
        "secret_rotated",
        "removed",
    ]


async def test_an_unknown_id_is_no_client_of_the_house(town: Town, db: Database) -> None:
    user_id, _ = await signed_in(town, "Manoj", "+919876501017")
    await appoint(db, user_id, "admin")
    token = data(await town.login(email="manoj@example.com"))["token"]
    own = await make_client(town, token, "wallets:read")

    answers = [
        await send(
            town, "DELETE", f"/admin/oauth/clients/{id_}", token=token, body={"reason": "None"}
        )
        for id_ in (new_id(), own.id)
    ]

    assert {error(answer, 404)["code"] for answer in answers} == {"NOT_FOUND"}


async def test_a_lost_answer_to_a_commit_does_no_harm(
    forgetful: ForgetfulDatabase, tmp_path: Path, superuser: Superuser
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    async with founded(forgetful, keys) as town:
        user_id, token = await signed_in(town, "Mridul", "+919876501018")
        client = await make_client(town, token, "wallets:read")
        path = f"/oauth/clients/{client.id}"
        rotated = machine(
            data(await send(town, "POST", f"{path}/rotate-secret", token=token, body={}))
        )
        tokens = [await token_of(town, client), await token_of(town, rotated)]
        deleted = await send(town, "DELETE", path, token=token)

    assert all(tokens)
    assert deleted.status_code == 204
    told = await superuser.fetch(
        "SELECT type FROM platform.outbox WHERE key = $1 AND type LIKE 'com.guilder.client.%'",
        user_id,
    )
    assert len(told) == 3


async def test_a_secret_is_good_or_its_token_is_ended_however_they_meet(town: Town) -> None:
    _, token = await signed_in(town, "Mukund", "+919876501019")
    clients = [await make_client(town, token, "wallets:read") for _ in range(5)]

    async def race(client: Machine) -> str | None:
        asked, _ = await asyncio.gather(
            post_form(town, "token", by=client, grant_type="client_credentials"),
            send(town, "DELETE", f"/oauth/clients/{client.id}", token=token),
        )
        return asked.json().get("access_token") if asked.status_code == 200 else None

    given = [token for token in await asyncio.gather(*map(race, clients)) if token]

    for its_token in given:
        with pytest.raises(Unauthenticated):
            await town.verifier.verify(its_token)
    assert data(await send(town, "GET", "/oauth/clients", token=token)) == []


async def test_whoever_is_erased_leaves_no_client_behind(
    town: Town, db: Database, superuser: Superuser
) -> None:
    user_id, token = await signed_in(town, "Mandira", "+919876501020")
    client = await make_client(town, token, "wallets:read")
    its_token = await token_of(town, client)

    await db.run(lambda tx: forget_clients(tx, user_id=UserId(UUID(user_id))))

    with pytest.raises(Unauthenticated):
        await town.verifier.verify(its_token)
    assert not await superuser.fetchval(
        "SELECT count(*) FROM identity.clients WHERE id = $1", client.id
    )


async def test_every_route_that_asks_for_no_permission_is_closed_to_clients(
    town: Town, db: Database
) -> None:
    _, token = await signed_in(town, "Manisha", "+919876501021")
    its_token = await token_of(town, await make_client(town, token, "wallets:read"))
    routes = module.build(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder)).routes
    for_people = [route for route in routes if route.access is Access.ANY_CALLER]

    answers = {
        f"{route.method} {route.path}": await send(
            town, route.method, re.sub(r"{[a-z_]+}", str(new_id()), route.path), token=its_token
        )
        for route in for_people
    }

    assert {"POST /auth/password/change", "GET /auth/me", "POST /auth/step-up"} <= answers.keys()
    assert {name for name, answer in answers.items() if answer.status_code != 403} == set()
