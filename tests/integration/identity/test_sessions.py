"""Sessions that are refreshed, listed and ended, over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from guilder.identity.api.sessions import EndReason
from guilder.platform.identifiers import new_id
from guilder.platform.keys import KeyFolder
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.waiting import until

Superuser = asyncpg.Connection
_numbers = iter(range(10_000, 99_999))

FIREFOX = {"user-agent": "Firefox/130.0 (Linux x86_64)"}
BROWSER = {"user-agent": "Firefox/131.0 (Linux x86_64)"}
PHONE = {"user-agent": "GuilderApp/2.1 (Android)"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def resident(town: Town, name: str) -> dict[str, Any]:
    """A new user's details."""
    return data(await town.register(name, f"+9198765{next(_numbers)}"), 201)


async def signed_in(
    town: Town, name: str, *, headers: dict[str, str] | None = None, **more: object
) -> dict[str, Any]:
    body = {"email": f"{name.lower()}@example.com", "password": "SecurePass123", **more}
    return data(await town.http.post("/api/v1/auth/login", json=body, headers=headers))


async def refreshed(town: Town, token: str, **headers: str) -> httpx2.Response:
    return await town.http.post(
        "/api/v1/auth/refresh", json={"refresh_token": token}, headers=headers
    )


async def listed(town: Town, token: str, query: str = "") -> Any:
    answer = await town.http.get(f"/api/v1/auth/sessions{query}", headers=bearer(token))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def sent(superuser: Superuser, user_id: str) -> list[tuple[str, str]]:
    """Types and data of the events of a user, in order."""
    rows = await superuser.fetch(
        "SELECT type, data FROM platform.outbox WHERE key = $1 ORDER BY transaction, position",
        user_id,
    )
    return [(row["type"].removeprefix("com.guilder.user."), row["data"]) for row in rows]


async def age(superuser: Superuser, user_id: str, *, seconds: int) -> None:
    """Let time pass for everything that was kept of a user's sessions."""
    await superuser.execute(
        """
        WITH aged AS (
            UPDATE identity.sessions SET started_at = started_at - make_interval(secs => $2),
                last_used_at = last_used_at - make_interval(secs => $2),
                expires_at = expires_at - make_interval(secs => $2)
            WHERE account_id IN (SELECT id FROM identity.accounts WHERE user_id = $1)
            RETURNING id
        )
        UPDATE identity.refresh_tokens SET issued_at = issued_at - make_interval(secs => $2),
            used_at = used_at - make_interval(secs => $2),
            expires_at = expires_at - make_interval(secs => $2)
        WHERE session_id IN (SELECT id FROM aged)
        """,
        UUID(user_id),
        float(seconds),
    )


async def test_a_refresh_gives_new_tokens_of_the_same_session(town: Town) -> None:
    await resident(town, "Aarti")
    first = await signed_in(town, "Aarti")

    second = data(await refreshed(town, first["refresh_token"]))

    assert set(second) == set(first)
    assert second["user"] == first["user"]
    assert second["refresh_token"] != first["refresh_token"]
    callers = [await town.verifier.verify(login["token"]) for login in (first, second)]
    assert callers[0].session_id == callers[1].session_id
    assert callers[0].token_id != callers[1].token_id
    assert data(await town.me(second["token"]))["email"] == "aarti@example.com"


async def test_a_refresh_says_what_roles_the_account_has_now(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Abha")
    first = await signed_in(town, "Abha")
    await superuser.execute(
        "INSERT INTO identity.role_assignments (account_id, role) VALUES ($1, 'support')",
        UUID(user["id"]),
    )

    second = data(await refreshed(town, first["refresh_token"]))

    assert second["user"]["roles"] == ["customer", "support"]


async def test_an_answer_that_was_lost_is_given_again(town: Town) -> None:
    await resident(town, "Achal")
    first = await signed_in(town, "Achal")

    lost = data(await refreshed(town, first["refresh_token"]))
    again = data(await refreshed(town, first["refresh_token"]))

    assert again["refresh_token"] == lost["refresh_token"]
    assert again["refresh_expires_at"] == lost["refresh_expires_at"]
    assert data(await refreshed(town, again["refresh_token"]))


async def test_a_chain_of_tokens_never_forks_under_concurrency(town: Town) -> None:
    await resident(town, "Aditi")
    token = (await signed_in(town, "Aditi"))["refresh_token"]

    for _ in range(3):
        answers = await asyncio.gather(*(refreshed(town, token) for _ in range(8)))
        (token,) = {data(answer)["refresh_token"] for answer in answers}


async def test_a_token_that_comes_again_late_ends_its_session(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Ahana")
    first = await signed_in(town, "Ahana")
    second = data(await refreshed(town, first["refresh_token"]))
    await age(superuser, user["id"], seconds=31)

    stolen = await refreshed(town, first["refresh_token"])

    assert error(stolen, 401)["code"] == "UNAUTHORIZED"
    assert error(await refreshed(town, second["refresh_token"]), 401)
    assert error(await town.me(second["token"]), 401)
    assert '"refresh_reused"' in dict(await sent(superuser, user["id"]))["sessions_ended"]


async def test_a_token_that_comes_again_after_its_successor_ends_its_session(town: Town) -> None:
    await resident(town, "Ajay")
    first = await signed_in(town, "Ajay")
    second = data(await refreshed(town, first["refresh_token"]))
    third = data(await refreshed(town, second["refresh_token"]))

    assert error(await refreshed(town, first["refresh_token"]), 401)

    assert error(await refreshed(town, third["refresh_token"]), 401)
    assert error(await town.me(third["token"]), 401)


async def test_another_session_of_the_user_survives_a_stolen_token(town: Town) -> None:
    await resident(town, "Akash")
    other = await signed_in(town, "Akash")
    first = await signed_in(town, "Akash")
    second = data(await refreshed(town, first["refresh_token"]))
    data(await refreshed(town, second["refresh_token"]))

    error(await refreshed(town, first["refresh_token"]), 401)

    assert data(await town.me(other["token"]))
    assert data(await refreshed(town, other["refresh_token"]))


async def test_a_session_that_rested_a_week_is_over(superuser: Superuser, town: Town) -> None:
    user = await resident(town, "Alka")
    first = await signed_in(town, "Alka")
    await age(superuser, user["id"], seconds=7 * 86_400)

    assert error(await refreshed(town, first["refresh_token"]), 401)["code"] == "UNAUTHORIZED"
    assert "sessions_ended" not in dict(await sent(superuser, user["id"]))


async def test_a_refresh_moves_the_end_but_never_past_ninety_days(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Amit")
    first = await signed_in(town, "Amit")
    await superuser.execute(
        "UPDATE identity.sessions SET started_at = started_at - interval '89 days' "
        "WHERE account_id = $1",
        UUID(user["id"]),
    )

    second = data(await refreshed(town, first["refresh_token"]))

    assert 86_000 < second["refresh_expires_at"] - (second["expires_at"] - 900) <= 86_400


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "grt_" + "A" * 43,
        "gdt_" + "A" * 43,
        "eyJhbGciOiJub25lIn0.e30.",
        "grt_" + "\u0661" * 43,
    ],
)
async def test_what_is_no_refresh_token_is_refused(token: str, town: Town) -> None:
    assert error(await refreshed(town, token), 401)["code"] == "UNAUTHORIZED"


async def test_an_access_token_is_no_refresh_token(town: Town) -> None:
    await resident(town, "Anjali")
    login = await signed_in(town, "Anjali")

    too_long = await refreshed(town, login["token"])

    assert error(too_long, 400)["code"] == "VALIDATION_ERROR"
    assert error(await refreshed(town, login["token"][:150]), 401)


async def test_a_refresh_token_is_no_access_token(town: Town) -> None:
    await resident(town, "Ankit")
    login = await signed_in(town, "Ankit")

    assert error(await town.me(login["refresh_token"]), 401)["code"] == "UNAUTHORIZED"


async def test_refreshing_takes_the_token_and_nothing_else(town: Town) -> None:
    await resident(town, "Anu")
    token = (await signed_in(town, "Anu"))["refresh_token"]

    more = await town.post("/auth/refresh", refresh_token=token, roles=["admin"])

    assert error(more, 400)["code"] == "VALIDATION_ERROR"
    assert error(await town.post("/auth/refresh"), 400)["code"] == "VALIDATION_ERROR"
    assert data(await refreshed(town, token))


async def test_the_database_holds_no_token(superuser: Superuser, town: Town) -> None:
    await resident(town, "Arun")
    first = await signed_in(town, "Arun", remember_device=True)
    second = data(await refreshed(town, first["refresh_token"]))
    secrets = [first["refresh_token"], second["refresh_token"], first["device_token"]]

    kept = await superuser.fetch(
        "SELECT t::text AS row FROM identity.refresh_tokens t "
        "UNION ALL SELECT d::text FROM identity.remembered_devices d "
        "UNION ALL SELECT o::text FROM platform.outbox o"
    )

    assert kept
    for secret in secrets:
        raw = secret.encode().hex()
        assert not any(secret in row["row"] or raw in row["row"] for row in kept)


async def test_answers_with_tokens_are_not_cached(town: Town) -> None:
    await resident(town, "Asha")
    answer = await town.login(email="asha@example.com")
    again = await refreshed(town, data(answer)["refresh_token"])

    assert [found.headers["cache-control"] for found in (answer, again)] == ["no-store"] * 2


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

    login = data(await refreshed(elsewhere, login["refresh_token"], **BROWSER))

    (only,) = (await listed(town, login["token"]))["data"]
    assert (only["address"], only["user_agent"]) == ("198.51.100.8", BROWSER["user-agent"])
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


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/auth/logout"),
        ("POST", "/auth/logout-all"),
        ("GET", "/auth/sessions"),
        ("DELETE", "/auth/sessions/00000000-0000-7000-8000-000000000000"),
        ("PATCH", "/auth/me"),
    ],
)
async def test_sessions_are_nobodys_without_a_token(method: str, path: str, town: Town) -> None:
    answer = await town.http.request(method, f"/api/v1{path}")

    assert error(answer, 401)["code"] == "UNAUTHORIZED"


async def test_a_signing_in_never_takes_over_a_session_id(town: Town) -> None:
    await resident(town, "Heena")
    login = await signed_in(town, "Heena")
    session_id = (await town.verifier.verify(login["token"])).session_id

    again = await town.http.post(
        "/api/v1/auth/login",
        json={"email": "heena@example.com", "password": "SecurePass123"},
        headers={**bearer(login["token"]), "cookie": f"session={session_id}; sid={session_id}"},
    )

    opened = (await town.verifier.verify(data(again)["token"])).session_id
    assert opened is not None
    assert opened != session_id


async def test_a_new_device_is_told_of_and_a_known_one_is_not(
    superuser: Superuser, town: Town
) -> None:
    user = await resident(town, "Ishan")
    for headers in (FIREFOX, BROWSER, PHONE, PHONE):
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


async def test_another_persons_device_token_is_worth_nothing(town: Town) -> None:
    await resident(town, "Kabir")
    await resident(town, "Laila")
    mine = await signed_in(town, "Kabir", remember_device=True)

    hers = await signed_in(town, "Laila", device_token=mine["device_token"], remember_device=True)

    assert hers["device_token"] not in {None, mine["device_token"]}


async def test_a_sign_in_whose_proof_is_older_than_an_end_opens_nothing(
    town: Town, superuser: Superuser
) -> None:
    user = await resident(town, "Mahesh")
    user_id = UUID(user["id"])

    async def somebody_waits() -> bool:
        waiting = "SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        return bool(await superuser.fetch(waiting))

    async with superuser.transaction():
        # as a password change does, while the password is being checked
        await superuser.execute(
            "UPDATE identity.users SET sign_in_epoch = sign_in_epoch + 1 WHERE id = $1", user_id
        )
        signing_in = asyncio.create_task(town.login(email="mahesh@example.com"))
        await until(somebody_waits, "the sign-in waits for the user's row")

    assert error(await signing_in, 401)["code"] == "UNAUTHORIZED"
    assert (
        await superuser.fetchval(
            "SELECT count(*) FROM identity.sessions WHERE account_id = $1", user_id
        )
        == 0
    )


async def test_answers_that_are_lost_open_one_session_and_end_it_once(
    forgetful: ForgetfulDatabase, superuser: Superuser, tmp_path: Any
) -> None:
    keys = KeyFolder(tmp_path / "keys")
    keys.ensure()
    async with founded(forgetful, keys) as town:
        user = await resident(town, "Nandini")
        login = await signed_in(town, "Nandini", remember_device=True)
        login = data(await refreshed(town, login["refresh_token"]))
        login = data(await refreshed(town, login["refresh_token"]))
        answer = await town.http.post("/api/v1/auth/logout", headers=bearer(login["token"]))

    assert data(answer) == {"ended": 1}
    types = [type_ for type_, _ in await sent(superuser, user["id"])]
    assert types[2:] == ["logged_in", "sessions_ended"]
    assert (
        await superuser.fetchval(
            "SELECT end_reason FROM identity.sessions WHERE account_id = $1", UUID(user["id"])
        )
        == EndReason.LOGOUT.value
    )
