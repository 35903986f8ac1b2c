"""Attacks on what is other people's: sessions, verifications, passkeys, clients, links, tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.platform.identifiers import new_id
from tests.support.authenticator import Authenticator
from tests.support.machines import make_client, send
from tests.support.portal import Resident, settle
from tests.support.town import PASSWORD, Town, data, error

NEW = "Another long passphrase"
ATTEMPTS = (
    ("DELETE", "/auth/sessions/{session}", None),
    ("POST", "/verifications/{verification}/verify", {"otp": "{code}"}),
    ("POST", "/verifications/{verification}/cancel", None),
    ("DELETE", "/auth/passkeys/{passkey}", None),
    ("POST", "/oauth/clients/{client}/rotate-secret", {}),
    ("DELETE", "/oauth/clients/{client}", None),
)
"""What is tried with Anna's ids, with the right code where one is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """Anna, and the ids of what is hers."""

    anna: Resident
    ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def annas(town: Town) -> Belongings:
    anna = await settle(town, "Anna")
    change = {"current_password": PASSWORD, "new_password": NEW}
    options = data(await anna.app.post("/auth/passkeys/register/options"))
    made = await anna.app.post(
        "/auth/passkeys/register/verify",
        credential=Authenticator().create(options),
        name="Phone",
    )
    client = await make_client(town, anna.app.token, "wallets:read")
    begun = data(await anna.app.post("/auth/password/change", **change), 202)
    caller = await town.verifier.verify(anna.app.token)
    found = {
        "session": str(caller.session_id),
        "passkey": str(data(made, 201)["id"]),
        "client": client.id,
        "verification": str(begun["verification_id"]),
    }
    return Belongings(anna=anna, ids=found)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ben(town: Town) -> Resident:
    return await settle(town, "Ben")


def filled(body: dict[str, str] | None, values: dict[str, str]) -> dict[str, str] | None:
    return None if body is None else {name: text.format_map(values) for name, text in body.items()}


def told(answer: httpx2.Response) -> tuple[int, Any]:
    """What an answer says, but for what differs from request to request."""
    body = answer.json()
    body["error"].pop("request_id")
    return answer.status_code, body


@pytest.mark.parametrize(("method", "path", "body"), ATTEMPTS, ids=lambda part: str(part)[:40])
@pytest.mark.parametrize("account", ["app", "portal"])
async def test_what_is_annas_is_nothing_to_ben(
    method: str,
    path: str,
    body: dict[str, str] | None,
    account: str,
    annas: Belongings,
    ben: Resident,
    town: Town,
    superuser: asyncpg.Connection,
) -> None:
    token = getattr(ben, account).token
    nobodys = {name: str(new_id()) for name in annas.ids}
    before = await everything(superuser, annas)

    answers = []
    for ids in (annas.ids, nobodys):
        values = {**ids, "code": "123456"}
        answers.append(
            told(
                await send(
                    town, method, path.format_map(values), token=token, body=filled(body, values)
                )
            )
        )

    assert answers[0] == answers[1]
    assert answers[0][0] in {403, 404}
    assert await everything(superuser, annas) == before


async def everything(superuser: asyncpg.Connection, annas: Belongings) -> list[str]:
    """What is kept of Anna's belongings, as a dump would show it."""
    rows = await superuser.fetch(
        """
        SELECT t::text FROM identity.sessions t WHERE account_id = $1
        UNION ALL SELECT t::text FROM identity.verifications t WHERE id = $2
        UNION ALL SELECT t::text FROM identity.passkeys t WHERE user_id = $1
        UNION ALL SELECT t::text FROM identity.clients t WHERE id = $3::text::uuid
        """,
        annas.anna.id,
        annas.ids["verification"],
        annas.ids["client"],
    )
    return sorted(row[0] for row in rows)


async def test_lists_show_ben_nothing_of_annas(annas: Belongings, ben: Resident) -> None:
    shown = [
        await account.get(path)
        for account in (ben.app, ben.portal)
        for path in ("/auth/sessions", "/verifications/pending", "/auth/passkeys", "/oauth/clients")
    ]

    assert {answer.status_code for answer in shown} <= {200, 403}
    for answer in shown:
        assert not [known for known in annas.ids.values() if known in answer.text]
        assert annas.anna.email not in answer.text


async def test_bens_portal_does_not_confirm_what_anna_began(ben: Resident, town: Town) -> None:
    anna = await settle(town, "Amrita")
    change = {"current_password": PASSWORD, "new_password": NEW}
    begun = data(await anna.app.post("/auth/password/change", **change), 202)
    verification_id = begun["verification_id"]
    code = await anna.code_of(verification_id)

    tried = [
        await account.post(f"/verifications/{verification_id}/verify", otp=code)
        for account in (ben.app, ben.portal, anna.portal)
    ]

    assert {answer.status_code for answer in tried} <= {403, 404}
    assert [waiting["id"] for waiting in await anna.pending()] == [verification_id]


async def test_annas_confirmation_changes_nothing_of_bens(ben: Resident, town: Town) -> None:
    anna = await settle(town, "Asha")
    change = {"current_password": PASSWORD, "new_password": NEW}
    begun = data(await anna.app.post("/auth/password/change", **change), 202)
    token = await anna.confirm(begun["verification_id"])

    answer = await ben.app.post("/auth/password/change", **change, verification_token=token)

    assert answer.status_code in {400, 403, 404}, answer.text
    assert data(await town.login(email=ben.email))["user"]["id"] == str(ben.id)


async def test_a_user_admin_account_is_worth_nothing_for_anothers_customer(
    annas: Belongings, ben: Resident, town: Town
) -> None:
    login = await town.login(email=ben.email, account_type="user_admin")

    caller = await town.verifier.verify(data(login)["token"])

    assert caller.customer_id == ben.id
    assert error(await ben.portal.get(f"/admin/users/{annas.anna.id}"), 403)["code"] == "FORBIDDEN"
