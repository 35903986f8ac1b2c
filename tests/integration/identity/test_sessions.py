"""Sessions that are refreshed, listed and ended, over HTTP and on a real database."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from guilder.identity.api.sessions import EndReason
from guilder.platform.keys import KeyFolder
from tests.support.residents import age, bearer, refreshed, resident, sent, signed_in
from tests.support.town import ForgetfulDatabase, Town, data, error, founded
from tests.support.waiting import until

Superuser = asyncpg.Connection


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
        tokens = {data(answer)["refresh_token"] for answer in answers}
        assert len(tokens) == 1
        token = tokens.pop()


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


async def test_no_access_token_outlives_its_session(superuser: Superuser, town: Town) -> None:
    user = await resident(town, "Amrit")
    first = await signed_in(town, "Amrit")
    await superuser.execute(
        "UPDATE identity.sessions SET started_at = started_at - interval '90 days' "
        "+ interval '10 minutes' WHERE account_id = $1",
        UUID(user["id"]),
    )

    second = data(await refreshed(town, first["refresh_token"]))

    assert second["expires_at"] == second["refresh_expires_at"]
    assert 0 < second["expires_in"] <= 600


async def test_no_refresh_under_way_survives_signing_out_everywhere(town: Town) -> None:
    await resident(town, "Anil")
    logins = [await signed_in(town, "Anil") for _ in range(6)]
    leaving = await signed_in(town, "Anil")

    *answers, out = await asyncio.gather(
        *(refreshed(town, login["refresh_token"]) for login in logins),
        town.http.post("/api/v1/auth/logout-all", headers=bearer(leaving["token"])),
    )

    assert data(out) == {"ended": 7}
    given = [answer.json()["data"] for answer in answers if answer.status_code == 200]
    for login in (*logins, *given):
        assert error(await town.me(login["token"]), 401)
        assert error(await refreshed(town, login["refresh_token"]), 401)


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


async def test_a_frozen_user_neither_signs_in_nor_goes_on(superuser: Superuser, town: Town) -> None:
    user = await resident(town, "Naresh")
    login = await signed_in(town, "Naresh")
    await superuser.execute(
        "UPDATE identity.users SET status = 'frozen' WHERE id = $1", UUID(user["id"])
    )

    wrong = await town.login(email="naresh@example.com", password="WrongPass123")
    right = await town.login(email="naresh@example.com")

    assert error(wrong, 401)["code"] == "UNAUTHORIZED"
    assert error(right, 403)["code"] == "USER_FROZEN"
    assert error(await refreshed(town, login["refresh_token"]), 401)["code"] == "UNAUTHORIZED"
