"""A customer and their user-admin portal in a town: two accounts, each signed in by itself."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import httpx2

from guilder.kernel.ids import UserId
from tests.support.town import Town, data

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedInAs:
    """One account of somebody, with its token."""

    town: Town
    token: str

    async def post(self, path: str, **body: object) -> httpx2.Response:
        return await self.town.http.post(
            f"/api/v1{path}", json=body or None, headers=self.authorization
        )

    async def get(self, path: str) -> httpx2.Response:
        return await self.town.http.get(f"/api/v1{path}", headers=self.authorization)

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """Somebody with ``app``, the account that acts, and ``portal``, the one that sees codes."""

    id: UserId
    email: str
    phone: str
    app: SignedInAs
    portal: SignedInAs

    async def pending(self) -> list[dict[str, Any]]:
        """What waits in the portal."""
        found: list[dict[str, Any]] = data(await self.portal.get("/verifications/pending"))[
            "verifications"
        ]
        return found

    async def code_of(self, verification_id: str) -> str:
        """The code that the portal shows for a verification."""
        (code,) = (found["otp"] for found in await self.pending() if found["id"] == verification_id)
        return str(code)

    async def confirm(self, verification_id: str) -> str:
        """Enter the code, and get the token."""
        answer = await self.app.post(
            f"/verifications/{verification_id}/verify", otp=await self.code_of(verification_id)
        )
        token: str = data(answer)["token"]["token"]
        return token


async def settle(town: Town, name: str) -> Resident:
    """Somebody new in town, signed in to both accounts."""
    number = next(_NUMBERS)
    email, phone = f"{name.lower()}.{number}@example.com", f"+9198110{number:05}"
    user = data(await town.register(name, phone, email=email), 201)
    app = data(await town.login(email=email))
    portal = data(await town.login(email=email, account_type="user_admin"))
    return Resident(
        id=UserId(UUID(user["id"])),
        email=email,
        phone=phone,
        app=SignedInAs(town=town, token=app["token"]),
        portal=SignedInAs(town=town, token=portal["token"]),
    )


def other_than(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 1_000_000:06}"
