"""The checks of sessions find nothing after honest use, and whatever is done past Guilder."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from guilder.identity.store.session_checks import CHECKS
from guilder.platform.checks import run_checks
from guilder.platform.db import Database
from tests.support.town import Town, data

Superuser = asyncpg.Connection

EDITS = {
    "identity.refresh_tokens_never_fork": (
        "UPDATE identity.refresh_tokens SET used_at = NULL, successor_salt = NULL, "
        "successor_digest = NULL WHERE session_id = $1"
    ),
    "identity.refresh_tokens_are_followed": (
        "UPDATE identity.refresh_tokens SET successor_digest = sha256(successor_digest) "
        "WHERE session_id = $1 AND used_at IS NOT NULL"
    ),
    "identity.ended_sessions_are_revoked": (
        "UPDATE identity.sessions SET ended_at = clock_timestamp(), end_reason = 'logout' "
        "WHERE id = $1"
    ),
}


async def found(db: Database) -> set[str]:
    """The names of the checks that found something."""
    return {done.check.name for done in await run_checks(db, CHECKS) if done.findings}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session_id(town: Town) -> UUID:
    """A session of Anna's that was refreshed twice; others of hers have ended."""
    data(await town.register("Anna", "+919876200001"), 201)
    for path in ("/auth/logout", "/auth/logout-all"):
        login = data(await town.login(email="anna@example.com"))
        headers = {"Authorization": f"Bearer {login['token']}"}
        data(await town.http.post(f"/api/v1{path}", headers=headers))
    login = data(await town.login(email="anna@example.com"))
    for _ in range(2):
        login = data(await town.post("/auth/refresh", refresh_token=login["refresh_token"]))
    opened: Any = (await town.verifier.verify(login["token"])).session_id
    return UUID(str(opened))


async def test_honest_use_is_found_to_be_right(db: Database, session_id: UUID) -> None:
    assert session_id
    assert await found(db) == set()


def test_every_check_has_an_edit() -> None:
    assert set(EDITS) == {check.name for check in CHECKS}


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_is_found(
    name: str, db: Database, session_id: UUID, superuser: Superuser
) -> None:
    kept = await superuser.fetch(
        "SELECT * FROM identity.refresh_tokens WHERE session_id = $1", session_id
    )
    await superuser.execute(EDITS[name], session_id)

    assert name in await found(db)

    await superuser.execute(
        "UPDATE identity.sessions SET ended_at = NULL, end_reason = NULL WHERE id = $1", session_id
    )
    for row in kept:
        await superuser.execute(
            "UPDATE identity.refresh_tokens SET used_at = $2, successor_salt = $3, "
            "successor_digest = $4 WHERE digest = $1",
            row["digest"],
            row["used_at"],
            row["successor_salt"],
            row["successor_digest"],
        )
    assert await found(db) == set()
