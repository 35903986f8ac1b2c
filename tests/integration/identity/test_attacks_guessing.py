"""Attacks in parallel on two servers of one database: guessing codes, replaying tokens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.database import OwnDatabase
from tests.support.enrolled import settled
from tests.support.portal import Resident as Customer
from tests.support.portal import other_than, settle
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, PASSWORD, Town, data, error, founded
from tests.support.waiting import until

Superuser = asyncpg.Connection
Guess = Callable[[Town], Awaitable[httpx2.Response]]
GUESSES = 15
"""On each server, all at once. Five is how many a code bears."""
NEW = "Another long passphrase"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def branch(town: Town, database: OwnDatabase) -> AsyncIterator[Town]:
    """Another server of the same town: its own process in all but name."""
    db = await Database.connect(database.url())
    async with founded(db, town.keys) as branch:
        yield branch
    await db.close()


async def everywhere(guess: Guess, *, servers: Sequence[Town]) -> Counter[tuple[int, str]]:
    """What many guesses on every server at once are answered: statuses and codes."""
    answers = await asyncio.gather(*(guess(server) for server in servers for _ in range(GUESSES)))
    return Counter(
        (answer.status_code, answer.json().get("error", {}).get("code", "")) for answer in answers
    )


def statuses(found: Counter[tuple[int, str]]) -> set[int]:
    return {status for status, _ in found}


async def test_a_verification_bears_five_wrong_codes_on_all_servers_together(
    town: Town, branch: Town
) -> None:
    anna = await settle(town, "Anna")
    begun = await anna.app.post(
        "/auth/password/change", current_password=PASSWORD, new_password=NEW
    )
    verification_id = data(begun, 202)["verification_id"]
    code = await anna.code_of(verification_id)

    async def guess(server: Town) -> httpx2.Response:
        at = replace(anna.app, town=server)
        return await at.post(f"/verifications/{verification_id}/verify", otp=other_than(code))

    found = await everywhere(guess, servers=[town, branch])

    assert sum(found.values()) == 2 * GUESSES
    assert found[(400, "INVALID_OTP")] <= 5
    assert statuses(found) <= {400, 404, 409, 410, 429}
    late = await anna.app.post(f"/verifications/{verification_id}/verify", otp=code)
    assert late.status_code in {404, 410}, late.text
    data(await town.login(email=anna.email))


async def test_a_code_that_signs_in_bears_five_wrong_ones_on_all_servers_together(
    town: Town, branch: Town, db: Database, superuser: Superuser
) -> None:
    anna = await settle(town, "Asha")
    data(await town.post("/auth/otp/request", phone=anna.phone), 202)
    code = await code_sent(db, town, anna)

    async def guess(server: Town) -> httpx2.Response:
        return await server.post("/auth/otp/verify", phone=anna.phone, otp=other_than(code))

    found = await everywhere(guess, servers=[town, branch])
    await superuser.execute("DELETE FROM identity.sign_in_failures")

    assert statuses(found) <= {400, 429}
    right = await branch.post("/auth/otp/verify", phone=anna.phone, otp=code)
    assert error(right, 400)["code"] == "INVALID_OTP"


async def code_sent(db: Database, town: Town, anna: Customer) -> str:
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    await work_off(db, identity.tasks)
    return (await sent_to(db, anna.id, keys=keys))[-1].code


async def test_a_challenge_bears_five_wrong_codes_on_all_servers_together(
    town: Town, branch: Town, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    await anna.enroll()
    challenge = data(await anna.sign_in(), 202)["challenge"]
    wrong = await anna.wrong_code()

    async def guess(server: Town) -> httpx2.Response:
        return await server.post("/auth/mfa/verify", challenge=challenge, otp=wrong)

    found = await everywhere(guess, servers=[town, branch])
    await anna.wait_out_block()

    assert found[(400, "INVALID_OTP")] <= 5
    assert 200 not in statuses(found)
    right = await town.post("/auth/mfa/verify", challenge=challenge, otp=await anna.code())
    assert right.status_code == 401, right.text


async def test_a_password_bears_few_guesses_on_all_servers_together(
    town: Town, branch: Town
) -> None:
    anna = await settle(town, "Anjali")

    async def guess(server: Town) -> httpx2.Response:
        return await server.at("203.0.113.77").login(email=anna.email, password="WrongPass123")

    found = await everywhere(guess, servers=[town, branch])

    assert statuses(found) == {401, 429}
    assert found[(401, "UNAUTHORIZED")] <= 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Thief:
    """Has a copy of somebody's refresh token and a server to use it on."""

    server: Town
    token: str

    async def refresh(self) -> httpx2.Response:
        return await self.server.post("/auth/refresh", refresh_token=self.token)


async def signed_in(town: Town, name: str) -> tuple[str, str, str]:
    """Somebody's email, access token and refresh token."""
    anna = await settle(town, name)
    login = data(await town.login(email=anna.email))
    return anna.email, login["token"], login["refresh_token"]


async def test_a_token_that_is_refreshed_everywhere_at_once_has_one_successor(
    town: Town, branch: Town
) -> None:
    _, _, token = await signed_in(town, "Bina")
    thieves = [Thief(server=server, token=token) for server in (town, branch) for _ in range(10)]

    answers = await asyncio.gather(*(thief.refresh() for thief in thieves))

    successors = {data(a)["refresh_token"] for a in answers if a.status_code == 200}
    assert len(successors) == 1
    assert {answer.status_code for answer in answers} <= {200, 401}


@pytest.mark.parametrize("first", ["thief", "owner"])
async def test_whoever_of_thief_and_owner_is_second_ends_the_session_of_both(
    first: str, town: Town, branch: Town
) -> None:
    _, access, token = await signed_in(town, "Bhavna" if first == "thief" else "Bhumi")
    owner, thief = Thief(server=town, token=token), Thief(server=branch, token=token)
    one, other = (thief, owner) if first == "thief" else (owner, thief)
    second = data(await one.refresh())["refresh_token"]
    third = data(await replace(one, token=second).refresh())["refresh_token"]

    replayed = await other.refresh()

    assert error(replayed, 401)["code"] == "UNAUTHORIZED"
    for server in (town, branch):
        error(await Thief(server=server, token=third).refresh(), 401)
        await until(partial(refuses, server, access), "the access token is refused")


async def refuses(server: Town, access: str) -> bool:
    return (await server.me(access)).status_code == 401


async def test_what_is_ended_on_one_server_is_ended_on_the_other(
    town: Town, branch: Town, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    data(await replace(anna, town=branch).send("GET", "/me"))

    data(await anna.post("/logout"))

    assert error(await anna.send("GET", "/me"), 401)["code"] == "UNAUTHORIZED"
    await until(partial(refuses, branch, anna.token), "the other server refuses it")


async def test_a_code_is_spent_once_however_many_servers_it_is_sent_to(
    town: Town, branch: Town, superuser: Superuser
) -> None:
    anna = await settled(town, superuser)
    await anna.enroll()
    code = await anna.code()

    answers = await asyncio.gather(
        *(server.login(email=anna.email, otp=code) for server in [town, branch] * 4)
    )

    assert Counter(answer.status_code for answer in answers)[200] == 1


async def test_one_verification_token_changes_one_password_on_one_server(
    town: Town, branch: Town
) -> None:
    anna = await settle(town, "Charu")
    change = {"current_password": PASSWORD, "new_password": NEW}
    begun = data(await anna.app.post("/auth/password/change", **change), 202)
    token = await anna.confirm(begun["verification_id"])

    async def use(server: Town) -> httpx2.Response:
        at = replace(anna.app, town=server)
        return await at.post("/auth/password/change", **change, verification_token=token)

    answers = await asyncio.gather(*(use(server) for server in [town, branch] * 4))

    told = await told_of(anna, town)
    assert {answer.status_code for answer in answers} <= {200, 400, 401, 403, 409, 410, 429}
    assert 200 in {answer.status_code for answer in answers}
    data(told)


async def told_of(anna: Customer, town: Town) -> httpx2.Response:
    """Whether the new password is the one now."""
    return await town.login(email=anna.email, password=NEW)


async def test_nobody_guesses_what_is_kept_secret(town: Town, superuser: Superuser) -> None:
    anna = await settled(town, superuser)
    logins = [data(await anna.sign_in(remember_device=True)) for _ in range(8)]
    await anna.enroll()
    challenges = [data(await anna.sign_in(), 202)["challenge"] for _ in range(8)]

    refresh = {login["refresh_token"] for login in logins}
    devices = {login["device_token"] for login in logins}

    for secrets in (refresh, devices, set(challenges)):
        assert len(secrets) == 8
        # 256 random bits in base64url
        assert all(len(secret) >= 43 for secret in secrets)
