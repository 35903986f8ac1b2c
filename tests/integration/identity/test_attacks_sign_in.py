"""Attacks on signing in: learning who has an account, skipping the factor, fixing a session."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity import module
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from tests.support.authenticator import Authenticator
from tests.support.database import OwnDatabase
from tests.support.enrolled import Resident, settled
from tests.support.portal import settle
from tests.support.postbag import sent_to, work_off
from tests.support.town import CHEAP, PASSWORD, Town, data, error, founded

Superuser = asyncpg.Connection
NOBODY: Final = {"email": "nobody@example.com", "phone": "+919811077777"}
WRONG: Final = "WrongPass123"
NEW: Final = "Another long passphrase"
TOKENS: Final = {"token", "access_token", "refresh_token"}


SAID: ContextVar[list[str] | None] = ContextVar("said", default=None)
"""Where the statements of the request at hand are remembered."""


class Listened:
    """A transaction that remembers what was asked in it."""

    def __init__(self, tx: Tx, *, said: list[str] | None) -> None:
        self._tx = tx
        self._said = said

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._tx, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute", "executemany"}:
            return asked

        def ask(query: str, *values: Any, **more: Any) -> Any:
            if self._said is not None:
                self._said.append(re.sub(r"\s+", " ", query).strip())
            return asked(query, *values, **more)

        return ask


class ListeningDatabase(Database):
    """Remembers every statement of a request, for comparing how much work two requests are.

    What goes on beside it, as the look for revocations each second, is no work of its own.
    """

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await super().run(lambda tx: work(Listened(tx, said=SAID.get())))

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Any]:
        async with super().reading() as tx:
            yield Listened(tx, said=SAID.get())

    async def heard(self, request: Awaitable[httpx2.Response]) -> tuple[httpx2.Response, list[str]]:
        """An answer, and the statements that it took."""
        said: list[str] = []
        before = SAID.set(said)
        try:
            return await request, said
        finally:
            SAID.reset(before)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listening(database: OwnDatabase) -> AsyncIterator[ListeningDatabase]:
    db = await ListeningDatabase.connect(database.url())
    assert isinstance(db, ListeningDatabase)
    yield db
    await db.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quiet(town: Town, listening: ListeningDatabase) -> AsyncIterator[Town]:
    """The town as served by whoever listens to its database."""
    async with founded(listening, town.keys) as quiet:
        yield quiet


@pytest_asyncio.fixture
async def anna(town: Town, superuser: Superuser) -> Resident:
    anna = await settled(town, superuser)
    await anna.enroll()
    return anna


def seen(answer: httpx2.Response) -> tuple[int, Any, set[str]]:
    """What an attacker sees of an answer, but for what differs from request to request."""
    body = answer.json()
    body.get("error", {}).pop("request_id", None)
    return answer.status_code, body, set(answer.headers)


def asking(name: str, value: str) -> dict[str, tuple[str, dict[str, object]]]:
    """Every way to name somebody without being them."""
    named: dict[str, object] = {name: value}
    return {
        "wrong password": ("/auth/login", {**named, "password": WRONG}),
        "wrong password of the portal": (
            "/auth/login",
            {**named, "password": WRONG, "account_type": "user_admin"},
        ),
        "wrong password of staff": (
            "/auth/login",
            {**named, "password": WRONG, "account_type": "staff"},
        ),
        "wrong password and a code": ("/auth/login", {**named, "password": WRONG, "otp": "123456"}),
        "forgotten": ("/auth/forgot", named),
        "wanting a code": ("/auth/otp/request", named),
        "guessing a code": ("/auth/otp/verify", {**named, "otp": "123456"}),
    }


@pytest.mark.parametrize("way", asking("email", "").keys())
@pytest.mark.parametrize("name", ["email", "phone"])
async def test_no_answer_tells_whether_somebody_has_an_account(
    way: str, name: str, town: Town, superuser: Superuser
) -> None:
    devi = await settle(town, "Devi")
    known, unknown = getattr(devi, name), NOBODY[name]

    answers = []
    for value in (known, unknown):
        await superuser.execute("DELETE FROM identity.sign_in_failures")
        await superuser.execute("DELETE FROM identity.code_issues")
        path, body = asking(name, value)[way]
        answers.append(seen(await town.at("198.18.0.1").post(path, **body)))

    assert answers[0] == answers[1]
    assert known not in str(answers[0])


@pytest.mark.parametrize("way", asking("email", "").keys())
async def test_the_work_for_somebody_is_the_work_for_nobody(
    way: str, quiet: Town, listening: ListeningDatabase, superuser: Superuser
) -> None:
    esha = await settle(quiet, "Esha")
    work = []
    for value in (esha.email, f"{new_id()}@example.com"):
        await superuser.execute("DELETE FROM identity.sign_in_failures")
        await superuser.execute("DELETE FROM identity.code_issues")
        path, body = asking("email", value)[way]
        _, said = await listening.heard(quiet.at("198.18.0.2").post(path, **body))
        work.append(said)

    assert work[0] == work[1]
    assert work[0]


def tokens_in(value: Any) -> set[str]:
    """Every name of a token in an answer, however deep."""
    if isinstance(value, dict):
        here = {name for name in TOKENS if value.get(name)}
        return here.union(*(tokens_in(part) for part in value.values()))
    return set().union(*map(tokens_in, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"otp": None},
        {"account_type": "customer"},
        {"account_type": "user_admin"},
        {"remember_device": True},
        {"device_token": "made-up"},
    ],
    ids=repr,
)
async def test_a_password_alone_gives_no_token(more: dict[str, object], anna: Resident) -> None:
    answer = await anna.sign_in(**more)

    assert data(answer, 202)["mfa_required"] is True
    assert tokens_in(answer.json()) == set()


@pytest.mark.parametrize(
    "otp", ["000000", "123456", " ", "0" * 40, "\u0660" * 6, "1e5", "-00001", "aaaa-aaaa-aaaa-aaaa"]
)
async def test_no_made_up_code_gives_a_token(otp: str, anna: Resident) -> None:
    answer = await anna.sign_in(otp=otp)

    assert answer.status_code == 400, answer.text
    assert tokens_in(answer.json()) == set()


async def test_a_remembered_device_does_not_stand_in_for_the_factor(anna: Resident) -> None:
    login = data(await anna.sign_in(otp=await anna.code(), remember_device=True))

    again = await anna.sign_in(device_token=login["device_token"])

    assert data(again, 202)["mfa_required"] is True
    assert tokens_in(again.json()) == set()


async def test_a_code_to_the_phone_is_not_both_factors(
    anna: Resident, town: Town, db: Database
) -> None:
    code = await sent(anna, town, db, path="/auth/otp/request")

    answer = await town.post("/auth/otp/verify", email=anna.email, otp=code)

    assert data(answer, 202)["mfa_required"] is True
    assert tokens_in(answer.json()) == set()


async def test_a_new_password_does_not_take_the_factor_away(
    anna: Resident, town: Town, db: Database
) -> None:
    await anna.database.execute(
        "UPDATE identity.users SET email_verified_at = now() WHERE id = $1", anna.user_id
    )
    token = await sent(anna, town, db, path="/auth/forgot")

    done = await town.post("/auth/reset", token=token, new_password=NEW)

    assert tokens_in(done.json()) == set()
    data(done)
    answer = await town.login(email=anna.email, password=NEW)
    assert data(answer, 202)["mfa_required"] is True


async def sent(anna: Resident, town: Town, db: Database, *, path: str) -> str:
    """What reaches Anna's mailbox."""
    data(await town.post(path, email=anna.email), 202)
    keys = OuterKeys(town.keys.folder)
    identity = module.build(db=db, keys=town.keys, contacts=keys, password_cost=CHEAP)
    await work_off(db, identity.tasks)
    return (await sent_to(db, anna.user_id, keys=keys))[-1].code


async def test_a_challenge_opens_no_door_but_its_own(anna: Resident, town: Town) -> None:
    challenge = data(await anna.sign_in(), 202)["challenge"]

    error(await town.me(challenge), 401)
    error(await town.post("/auth/refresh", refresh_token=challenge), 401)
    error(await town.post("/auth/reset", token=challenge, new_password=NEW), 400)
    for proof in ({}, {"otp": None}, {"mfa_required": False}, {"passkey": {}}):
        answer = await town.post("/auth/mfa/verify", challenge=challenge, **proof)
        assert answer.status_code in {400, 401}, (proof, answer.text)
        assert tokens_in(answer.json()) == set()


async def test_anothers_passkey_does_not_complete_a_challenge(
    anna: Resident, town: Town, superuser: Superuser
) -> None:
    ben = await settled(town, superuser, name="Ben")
    authenticator = Authenticator()
    await ben.add_passkey(authenticator)
    options = data(await town.post("/auth/passkeys/login/options"))
    challenge = data(await anna.sign_in(), 202)["challenge"]

    credential = authenticator.get(options)
    answer = await town.post("/auth/mfa/verify", challenge=challenge, passkey=credential)

    assert answer.status_code in {400, 401}, answer.text
    assert tokens_in(answer.json()) == set()


async def statuses_of(login: Any, town: Town) -> list[int]:
    """What is answered to both tokens of a sign-in."""
    refreshed = await town.post("/auth/refresh", refresh_token=login["refresh_token"])
    return [(await town.me(login["token"])).status_code, refreshed.status_code]


async def test_a_factor_ends_the_sessions_that_never_showed_it(
    town: Town, superuser: Superuser
) -> None:
    gita = await settled(town, superuser, name="Gita")
    before = data(await gita.sign_in())

    await gita.enroll()

    assert await statuses_of(before, town) == [401, 401]


def session_ids(answers: Iterable[Any]) -> list[str]:
    return [session["id"] for page in answers for session in page]


async def test_nobody_chooses_the_session_that_somebody_else_signs_in_to(
    town: Town, superuser: Superuser
) -> None:
    attacker = await settled(town, superuser, name="Mallory")
    theirs = (await attacker.get("/sessions"))[0]["id"]
    victim = await settled(town, superuser, name="Hema")

    planted = await town.http.post(
        f"/api/v1/auth/login?sid={theirs}&session_id={theirs}",
        json={"email": victim.email, "password": PASSWORD},
        headers={
            "Authorization": f"Bearer {attacker.token}",
            "Cookie": f"sid={theirs}; session={theirs}; JSESSIONID={theirs}",
            "X-Session-Id": theirs,
        },
    )

    if planted.status_code == 200:
        login = data(planted)
        caller = await town.verifier.verify(login["token"])
        assert (caller.user_id, str(caller.session_id) == theirs) == (victim.user_id, False)
        assert "set-cookie" not in planted.headers
        assert session_ids([await attacker.get("/sessions")]) == [theirs]
    else:
        error(planted, 400)


async def test_each_sign_in_has_a_session_of_its_own(anna: Resident, town: Town) -> None:
    first = await town.verifier.verify(anna.token)
    challenged = data(await anna.sign_in(), 202)["challenge"]

    login = data(await town.post("/auth/mfa/verify", challenge=challenged, otp=await anna.code()))

    second = await town.verifier.verify(login["token"])
    assert second.session_id != first.session_id
    assert second.token_id != first.token_id


async def test_a_new_password_leaves_a_thief_no_session(town: Town) -> None:
    ila = await settle(town, "Ila")
    thief = data(await town.login(email=ila.email, remember_device=True))
    change = {"current_password": PASSWORD, "new_password": NEW}
    begun = data(await ila.app.post("/auth/password/change", **change), 202)
    token = await ila.confirm(begun["verification_id"])

    data(await ila.app.post("/auth/password/change", **change, verification_token=token))

    assert await statuses_of(thief, town) == [401, 401]
    assert data(await ila.app.get("/auth/me"))["id"] == str(ila.id)
