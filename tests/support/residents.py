"""People of a town who sign in, refresh their sessions and look at them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import httpx2

from tests.support.town import Town, data

_numbers = iter(range(10_000, 99_999))

FIREFOX = {"user-agent": "Firefox/130.0 (Linux x86_64)"}
FIREFOX_UPDATED = {"user-agent": "Firefox/131.0 (Linux x86_64)"}
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


async def sent(superuser: asyncpg.Connection, user_id: str) -> list[tuple[str, str]]:
    """Types and data of the events of a user, in order."""
    rows = await superuser.fetch(
        "SELECT type, data FROM platform.outbox WHERE key = $1 ORDER BY transaction, position",
        user_id,
    )
    return [(row["type"].removeprefix("com.guilder.user."), row["data"]) for row in rows]


async def age(superuser: asyncpg.Connection, user_id: str, *, seconds: int) -> None:
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


async def prove_email(superuser: asyncpg.Connection, user_id: str) -> None:
    """As if somebody had entered a code that came to their mailbox."""
    await superuser.execute(
        "UPDATE identity.users SET email_verified_at = clock_timestamp() WHERE id = $1",
        UUID(user_id),
    )
