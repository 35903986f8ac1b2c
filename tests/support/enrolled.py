"""People of a town who look after their second factors, by HTTP."""

from __future__ import annotations

from base64 import b32decode
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import httpx2

from guilder.identity.domain import totp
from tests.support.authenticator import Authenticator
from tests.support.town import PASSWORD, Town, data

_numbers = count(1)


@dataclass(kw_only=True)
class Resident:
    """Somebody who is signed in, and what an authenticator app of theirs knows."""

    town: Town
    email: str
    user_id: UUID
    token: str
    database: asyncpg.Connection
    secret: bytes = b""
    recovery_codes: list[str] = field(default_factory=list)

    async def send(self, method: str, path: str, **body: object) -> httpx2.Response:
        return await self.town.http.request(
            method,
            f"/api/v1/auth{path}",
            json=body or None,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.send("POST", path, **body)

    async def get(self, path: str) -> Any:
        return data(await self.send("GET", path))

    async def sign_in(self, **more: object) -> httpx2.Response:
        return await self.town.login(email=self.email, **more)

    async def again(self, **more: object) -> Resident:
        """The same person in another session."""
        token = data(await self.sign_in(**more))["token"]
        return Resident(
            town=self.town,
            email=self.email,
            user_id=self.user_id,
            token=token,
            database=self.database,
            secret=self.secret,
        )

    async def code(self, *, steps: int = 0) -> str:
        """What the app shows now, or so many steps later."""
        now = await self.database.fetchval("SELECT clock_timestamp()")
        return totp.code(self.secret, step=totp.step_of(now) + steps)

    async def wrong_code(self) -> str:
        """Six digits that are no code of these minutes."""
        good = {await self.code(steps=steps) for steps in range(-3, 4)}
        return next(text for text in ("000000", "111111", "222222") * 3 if text not in good)

    async def enroll(self) -> None:
        """Have an authenticator app. The code that confirmed it is behind."""
        secret = data(await self.post("/mfa/totp/enroll"))["secret"]
        self.secret = b32decode(secret)
        done = data(await self.post("/mfa/totp/confirm", otp=await self.code()))
        self.recovery_codes = done["recovery_codes"] or self.recovery_codes
        await self.wait_for_next_code()

    async def wait_for_next_code(self) -> None:
        """As though time had passed since the last code was used."""
        await self.database.execute(
            "UPDATE identity.totp SET last_step = last_step - 10 WHERE user_id = $1", self.user_id
        )

    async def wait_out_block(self) -> None:
        """As though the wait after wrong codes were over."""
        await self.database.execute(
            "UPDATE identity.totp SET blocked_until = clock_timestamp() WHERE user_id = $1",
            self.user_id,
        )

    async def grow_old(self) -> None:
        """As though every session had begun an hour earlier, and proved itself then."""
        await self.database.execute(
            "UPDATE identity.sessions SET started_at = started_at - interval '1 hour' "
            "WHERE account_id = $1",
            self.user_id,
        )
        await self.database.execute(
            "UPDATE identity.step_ups SET proved_at = proved_at - interval '1 hour'"
        )

    async def add_passkey(self, authenticator: Authenticator, *, name: str = "Phone") -> Any:
        options = data(await self.post("/passkeys/register/options"))
        credential = authenticator.create(options)
        added = data(
            await self.post("/passkeys/register/verify", credential=credential, name=name), 201
        )
        self.recovery_codes = added["recovery_codes"] or self.recovery_codes
        return added

    async def events(self) -> list[str]:
        rows = await self.database.fetch(
            "SELECT type FROM platform.outbox WHERE key = $1 ORDER BY transaction, position",
            str(self.user_id),
        )
        return [row["type"].removeprefix("com.guilder.user.") for row in rows]


async def settled(town: Town, database: asyncpg.Connection, *, name: str = "Anna") -> Resident:
    """Somebody new who has just signed in."""
    number = next(_numbers)
    email = f"{name.lower()}{number}@example.com"
    user = data(await town.register(name, f"+9199887{number:05}", email=email), 201)
    token = data(await town.login(email=email, password=PASSWORD))["token"]
    return Resident(
        town=town, email=email, user_id=UUID(user["id"]), token=token, database=database
    )
