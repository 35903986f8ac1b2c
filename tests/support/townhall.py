"""People of a town who have accounts in its database and a token each: customers and staff."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import httpx2

from guilder.identity import module
from guilder.identity.service.first_proofs import prove
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.support.town import PASSWORD, Town, data

_NUMBERS = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Townsman:
    """Somebody who is signed in."""

    town: Town
    id: str
    email: str
    phone: str | None
    token: str

    async def ask(self, method: str, path: str, **sent: Any) -> httpx2.Response:
        """What Guilder answers them. ``sent`` is a JSON body, or ``params`` of a query."""
        params = sent.pop("params", None)
        return await self.town.http.request(
            method,
            f"/api/v1{path}",
            params=params,
            json=sent or None,
            headers={"Authorization": f"Bearer {self.token}"},
        )

    async def may(self, permission: str) -> bool:
        """Whether they have a permission just now, by what their token says and has been told."""
        caller = await self.town.verifier.verify(self.token)
        return caller.may(permission)


async def customer(town: Town, name: str = "Anna") -> Townsman:
    """A customer, newly registered."""
    number = next(_NUMBERS)
    phone = f"+9198765{number:05}"
    email = f"{name.lower()}.{number}@example.com"
    made = data(await town.register(name, phone, email=email), 201)
    return await _signed_in(town, made["id"], email=email, phone=phone)


async def colleague(town: Town, db: Database, name: str = "Anna") -> Townsman:
    """A customer whose email is proved, so that they may join staff."""
    anna = await customer(town, name)
    await proved(anna.id, db=db)
    return anna


async def proved(user_id: str, *, db: Database) -> None:
    """As if this user had entered a code that came to their mailbox."""
    assert await db.run(lambda tx: prove(tx, UserId(UUID(user_id)), contact="email"))


async def staff(town: Town, db: Database, role: str, *, name: str = "Ben") -> Townsman:
    """Somebody who works here and is appointed to ``role``."""
    email = f"{name.lower()}.{next(_NUMBERS)}@guilder.example"
    office = module.build_staff(db=db, keys=town.keys, contacts=OuterKeys(town.keys.folder))
    made = await office.appoint(email=email, role=role, full_name=f"{name} Rao", password=PASSWORD)
    return await _signed_in(town, str(made.user_id), email=email, phone=None)


async def _signed_in(town: Town, user_id: str, *, email: str, phone: str | None) -> Townsman:
    token = data(await town.login(email=email))["token"]
    return Townsman(town=town, id=user_id, email=email, phone=phone, token=token)
