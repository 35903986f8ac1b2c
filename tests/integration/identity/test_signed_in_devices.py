"""Where somebody is signed in: listing sessions, ending them, and devices that are remembered."""

from __future__ import annotations

from uuid import UUID

import asyncpg
from msgspec import json

from guilder.identity.domain.sessions import program_of
from guilder.platform.identifiers import new_id
from tests.support import machines
from tests.support.machines import make_client, token_of
from tests.support.residents import (
    FIREFOX,
    FIREFOX_UPDATED,
    PHONE,
    age,
    bearer,
    listed,
    refreshed,
    resident,
    sent,
    signed_in,
)
from tests.support.town import Town, data, error

Superuser = asyncpg.Connection


async def test_logout_ends_the_session_and_its_tokens(superuser: Superuser, town: Town) -> None:
    user = await resident(town, "Bimal")
    login = await signed_in(town, "Bimal")
    other = await signed_in(town, "Bimal")

    answer = await town.http.post("/api/v1/auth/logout", headers=bearer(login["token"]))

    assert data(answer) == {"ended": 1}
    assert error(await town.me(login["token"]), 401)
    assert error(await refreshed(town, login["refresh_token"]), 401)
    assert data(await town.me(other["token"]))
    assert '"logout"' in dict(await sent(superuser, user["id"]))["sessions_ended"]


async def test_logout_everywhere_ends_every_session_of_every_account(town: Town) -> None:
    await resident(town, "Bindu")
    logins = [
        await signed_in(town, "Bindu"),
        await signed_in(town, "Bindu", remember_device=True),
        await signed_in(town, "Bindu", account_type="user_admin"),
    ]

    answer = await town.http.post("/api/v1/auth/logout-all", headers=bearer(logins[0]["token"]))

    assert data(answer) == {"ended": 3}
    for login in logins:
        assert error(await town.me(login["token"]), 401)
        assert error(await refreshed(town, login["refresh_token"]), 401)
    again = await signed_in(town, "Bindu", device_token=logins[1]["device_token"])
    assert again["device_token"] is None


async def test_the_list_shows_where_somebody_is_signed_in(town: Town) -> None:
    await resident(town, "Chand")
    await signed_in(town.at("198.51.100.7"), "Chand", headers=PHONE, account_type="user_admin")
    login = await signed_in(town, "Chand", headers=FIREFOX)

    page = await listed(town, login["token"])

    assert page["meta"] == {"next_cursor": None, "has_more": False}
    here, away = page["data"]
    assert (here["current"], away["current"]) == (True, False)
    assert (here["user_agent"], away["user_agent"]) == (FIREFOX["user-agent"], PHONE["user-agent"])
    assert (here["address"], away["address"]) == ("127.0.0.1", "198.51.100.7")
    assert (here["account_type"], away["account_type"]) == ("customer", "user_admin")
    assert here["methods"] == ["pwd"]
    assert here["started_at"] == here["last_used_at"] < here["expires_at"]


async def test_a_refresh_is_the_last_use(town: Town) -> None:
    await resident(town, "Charu")
    login = await signed_in(town, "Charu", headers=FIREFOX)
    elsewhere = town.at("198.51.100.8")

    login = data(await refreshed(elsewhere, login["refresh_token"], **FIREFOX_UPDATED))

    (only,) = (await listed(town, login["token"]))["data"]
    assert (only["address"], only["user_agent"]) == ("198.51.100.8", FIREFOX_UPDATED["user-agent"])
    assert only["last_used_at"] > only["started_at"]


async def test_the_list_comes_in_pages(town: Town) -> None:
    await resident(town, "Chirag")
    logins = [await signed_in(town, "Chirag") for _ in range(5)]
    token, found, query = logins[-1]["token"], list[str](), "?limit=2"

    while True:
        page = await listed(town, token, query)
        found += [session["id"] for session in page["data"]]
        if not page["meta"]["has_more"]:
            break
        query = f"?limit=2&cursor={page['meta']['next_cursor']}"

    sessions = [str((await town.verifier.verify(login["token"])).session_id) for login in logins]
    assert found == sessions[::-1]


async def test_ended_and_expired_sessions_are_not_listed(superuser: Superuser, town: Town) -> None:
    user = await resident(town, "Chitra")
    await signed_in(town, "Chitra")
    await age(superuser, user["id"], seconds=8 * 86_400)
    gone = await signed_in(town, "Chitra")
    await town.http.post("/api/v1/auth/logout", headers=bearer(gone["token"]))
    login = await signed_in(town, "Chitra")

    (only,) = (await listed(town, login["token"]))["data"]

    assert only["current"] is True


async def test_a_session_is_ended_from_another(town: Town) -> None:
    await resident(town, "Devi")
    lost = await signed_in(town, "Devi", headers=PHONE)
    login = await signed_in(town, "Devi")
    session_id = (await town.verifier.verify(lost["token"])).session_id
    url = f"/api/v1/auth/sessions/{session_id}"

    first = await town.http.delete(url, headers=bearer(login["token"]))
    again = await town.http.delete(url, headers=bearer(login["token"]))

    assert data(first) == data(again) == {"ended": 1}
    assert error(await town.me(lost["token"]), 401)
    assert error(await refreshed(town, lost["refresh_token"]), 401)
    assert data(await town.me(login["token"]))


async def test_nobody_sees_or_ends_another_persons_session(town: Town) -> None:
    await resident(town, "Diya")
    await resident(town, "Esha")
    anna, ben = await signed_in(town, "Diya"), await signed_in(town, "Esha")
    session_id = (await town.verifier.verify(anna["token"])).session_id

    answers = [
        await town.http.delete(f"/api/v1/auth/sessions/{name}", headers=bearer(ben["token"]))
        for name in (session_id, new_id(), "nonsense")
    ]

    assert [error(answer, 404)["code"] for answer in answers] == ["NOT_FOUND"] * 3
    assert len({error(answer, 404)["message"] for answer in answers}) == 1
    assert data(await town.me(anna["token"]))
    ids = [session["id"] for session in (await listed(town, ben["token"]))["data"]]
    assert str(session_id) not in ids


async def test_a_cursor_of_another_person_is_refused(town: Town) -> None:
    for name in ("Farah", "Gopal"):
        await resident(town, name)
    tokens = [
        [(await signed_in(town, name))["token"] for _ in range(2)] for name in ("Farah", "Gopal")
    ]
    cursor = (await listed(town, tokens[0][0], "?limit=1"))["meta"]["next_cursor"]

    answer = await town.http.get(
        f"/api/v1/auth/sessions?limit=1&cursor={cursor}", headers=bearer(tokens[1][0])
    )

    assert error(answer, 400)["details"]["fields"]["cursor"]


async def test_a_new_device_is_told_of_and_a_known_one_is_not(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Ishan")
    for headers in (FIREFOX, FIREFOX_UPDATED, PHONE, PHONE):
        await signed_in(town, "Ishan", headers=headers)

    told = [type_ for type_, _ in await sent(superuser, user["id"])]

    assert told[2:] == ["logged_in", "logged_in", "logged_in", "new_device_used", "logged_in"]


async def test_a_remembered_device_is_not_new_whatever_it_calls_itself(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Jasmin")
    first = await signed_in(town, "Jasmin", headers=FIREFOX, remember_device=True)

    again = await signed_in(
        town, "Jasmin", headers=PHONE, device_token=first["device_token"], remember_device=True
    )

    assert again["device_token"] == first["device_token"]
    assert "new_device_used" not in dict(await sent(superuser, user["id"]))


async def test_the_same_program_in_another_network_is_new_and_in_its_own_it_is_not(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Jaya")
    for address in ("203.0.113.5", "203.0.77.8", "198.51.100.9", "203.0.113.5", "198.51.7.7"):
        await signed_in(town.at(address), "Jaya", headers=FIREFOX)

    told = await sent(superuser, user["id"])

    new = [json.decode(details) for type_, details in told if type_ == "new_device_used"]
    assert len(new) == 1
    assert new[0]["personal"] == {"device": "Firefox on Linux", "network": "198.51.0.0/16"}
    assert not {"device", "network"} & new[0].keys()


async def test_who_was_seen_before_networks_counted_is_known_where_they_are_now(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Jivan")
    await superuser.execute(
        "INSERT INTO identity.devices VALUES ($1, $2, now(), now())",
        UUID(user["id"]),
        program_of(FIREFOX["user-agent"]),
    )
    for address in ("203.0.113.5", "198.51.100.9"):
        await signed_in(town.at(address), "Jivan", headers=FIREFOX)

    told = [type_ for type_, _ in await sent(superuser, user["id"])]

    assert told[2:] == ["logged_in", "logged_in", "new_device_used"]


async def test_another_persons_device_token_is_worth_nothing(town: Town) -> None:
    await resident(town, "Kabir")
    await resident(town, "Laila")
    mine = await signed_in(town, "Kabir", remember_device=True)

    hers = await signed_in(town, "Laila", device_token=mine["device_token"], remember_device=True)

    assert hers["device_token"] not in {None, mine["device_token"]}


async def test_a_machine_client_has_no_say_in_its_owners_sessions(town: Town) -> None:
    _, token = await machines.signed_in(town, "Mira", "+919876210001")
    headers = bearer(await token_of(town, await make_client(town, token, "wallets:read")))
    session_id = (await town.verifier.verify(token)).session_id

    answers = [
        await town.http.request(method, f"/api/v1/auth/{path}", headers=headers, json=body)
        for method, path, body in (
            ("GET", "sessions", None),
            ("POST", "logout", None),
            ("POST", "logout-all", None),
            ("DELETE", f"sessions/{session_id}", None),
            ("PATCH", "me", {"full_name": "A Machine"}),
        )
    ]

    assert [error(answer, 403)["code"] for answer in answers] == ["FORBIDDEN"] * 5
    assert data(await town.me(token))["full_name"] == "Mira Rao"
