"""Machine clients as tests use them: made by people and by staff, asking for tokens by the book."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID

import httpx2

from guilder.platform.db import Database
from tests.support.town import Town, data

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A client with its secret."""

    id: str
    secret: str

    @property
    def basic(self) -> str:
        pair = f"{quote_plus(self.id)}:{quote_plus(self.secret)}"
        return f"Basic {b64encode(pair.encode()).decode()}"


def machine(made: dict[str, Any]) -> Machine:
    return Machine(id=made["client_id"], secret=made["client_secret"])


async def signed_in(town: Town, name: str, phone: str) -> tuple[str, str]:
    """A new customer's id and token."""
    user = data(await town.register(name, phone), 201)
    return user["id"], data(await town.login(email=f"{name.lower()}@example.com"))["token"]


async def appoint(db: Database, account_id: str, role: str) -> None:
    """Give an account a role; tokens tell of it from the next sign-in on."""
    await db.run(
        lambda tx: tx.execute(
            "INSERT INTO identity.role_assignments (account_id, role) VALUES ($1, $2)",
            UUID(account_id),
            role,
        )
    )


async def send(
    town: Town, method: str, path: str, *, token: str, body: object = None
) -> httpx2.Response:
    return await town.http.request(
        method, f"/api/v1{path}", json=body, headers={"Authorization": f"Bearer {token}"}
    )


async def make_client(town: Town, token: str, *scopes: str, name: str = "Books") -> Machine:
    body = {"name": name, "scopes": list(scopes)}
    return machine(data(await send(town, "POST", "/oauth/clients", token=token, body=body), 201))


async def post_form(
    town: Town, path: str, *, by: Machine | None = None, **fields: str
) -> httpx2.Response:
    """Send a form, as ``by`` with the credentials in the header."""
    headers = {} if by is None else {"Authorization": by.basic}
    return await town.http.post(f"/api/v1/oauth/{path}", data=fields, headers=headers)


async def token_of(town: Town, client: Machine, **fields: str) -> str:
    answer = await post_form(town, "token", by=client, grant_type="client_credentials", **fields)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token
