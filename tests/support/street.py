"""The whole API on one database in this process, and everybody who could call it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2

from guilder.apps.compose import House, build_house, http_app, key_folder, prepare_keys, running
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import AUDIENCE, CLIENT, ISSUER
from guilder.platform.bus import Bus
from guilder.platform.db import Database
from guilder.platform.http.route import Route
from guilder.platform.identifiers import new_id
from guilder.platform.settings import load
from tests.support.http_server import serving
from tests.support.town import PASSWORD, data

_PREFIX = "/api/v1"
_LIFE_S = 840
_PLACES = ("id", "_id")
# What a route without an example is sent. Members whose names end with _id are filled in.
_AMOUNT = {"amount": "10.00", "currency": "INR"}
_WALLET_PAYMENT = {"wallet_id": "", **_AMOUNT}
_ENTRIES = [{"account_id": "", "direction": side, "amount": "1.00"} for side in ("debit", "credit")]
_ACCOUNT = {"code": "office.rent", "type": "expense", "currency": "INR"}
_BODIES: Mapping[str, Mapping[str, Any]] = {
    "/ledger/accounts": _ACCOUNT,
    "/ledger/accounts/create": _ACCOUNT,
    "/ledger/accounts/{account_id}/freeze": {},
    "/ledger/accounts/{account_id}/floor": {"floor": "0.00"},
    "/ledger/controls/{control_id}": {
        "subject_id": "",
        "currency": "INR",
        "direction": "outflow",
        "time_zone": "Asia/Kolkata",
    },
    "/ledger/transactions": {"entries": _ENTRIES},
    "/ledger/entries/create": {"entries": _ENTRIES},
    "/ledger/transactions/{transaction_id}/post": {},
    "/ledger/transactions/{transaction_id}/reverse": {},
    "/ledger/transactions/bulk": {"transactions": [{"entries": _ENTRIES}]},
    "/wallet/freeze": {"user_id": ""},
    "/wallet/unfreeze": {"user_id": ""},
    "/transactions/deposit": _WALLET_PAYMENT,
    "/transactions/topup": _WALLET_PAYMENT,
    "/transactions/withdrawal": _WALLET_PAYMENT,
    "/transactions/transfer": {"from_wallet_id": "", "to_wallet_id": "", **_AMOUNT},
    "/transactions/transfers": {"from_wallet_id": "", "to_wallet_id": "", **_AMOUNT},
    "/notifications/devices": {"token": "a-token-of-a-push-service"},
    "/oauth/clients/{client_id}/rotate-secret": {},
    "/admin/oauth/clients/{client_id}/rotate-secret": {"reason": "It was lost."},
    "/admin/oauth/clients/{client_id}": {"reason": "Nobody uses it."},
}
_QUERIES: Mapping[str, str] = {
    "permission": "wallets:read",
    "reason": "It was agreed.",
    "at": "2026-11-20T00:00:00Z",
    "language": "en",
    "channel": "email",
}


class Ids(dict[str, str]):
    """Ids by the name of a path's parameter or a body's member; what it lacks is nobody's."""

    def __missing__(self, name: str) -> str:
        self[name] = str(new_id())
        return self[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Street:
    """A served house: its routes, and a client."""

    house: House
    http: httpx2.AsyncClient

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route of every context."""
        return tuple(route for module in self.house.modules for route in module.routes)

    async def ask(
        self, method: str, path: str, *, token: str | None, body: object = None
    ) -> httpx2.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.http.request(method, _PREFIX + path, json=body, headers=headers)

    async def call(self, route: Route, *, token: str | None, ids: Ids) -> httpx2.Response:
        """Call ``route`` with these ids in its path, its query and its body."""
        request = self.http.build_request(
            route.method,
            ("" if route.at_root else _PREFIX) + route.path.format_map(ids),
            params=_query(route, ids) or None,
            json=_filled(sent_to(route), ids),
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
        )
        response = await self.http.send(request, stream=True)
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            await response.aclose()  # it goes on and on
        else:
            await response.aread()
        return response

    async def catch_up(self) -> None:
        """Let every subscription hear what has happened so far."""
        subscriptions = [one for module in self.house.modules for one in module.subscriptions]
        bus = Bus(self.house.db, subscriptions)
        await bus.join()
        for subscription in subscriptions:
            while await bus.deliver(subscription):
                pass

    async def register(self, name: str, phone: str) -> str:
        """A new customer's id."""
        body = {
            "email": email_of(name),
            "phone": phone,
            "full_name": f"{name} Rao",
            "password": PASSWORD,
        }
        made = await self.ask("POST", "/auth/register", token=None, body=body)
        return str(data(made, 201)["id"])

    async def login(self, name: str, *, account_type: str = "customer") -> Any:
        """What signing in to an account answers."""
        body = {"email": email_of(name), "password": PASSWORD, "account_type": account_type}
        return data(await self.ask("POST", "/auth/login", token=None, body=body))

    async def token(
        self, user_id: UUID, *, roles: Iterable[str] = (), scopes: Iterable[str] | None = None
    ) -> str:
        """A token of a session that nobody ends: a person's with roles, a machine's with scopes."""
        now, is_machine = int(time.time()), scopes is not None
        claims = AccessClaims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=user_id,
            jti=new_id(),
            iat=now,
            exp=now + _LIFE_S,
            account_type=CLIENT if is_machine else "customer",
            roles=tuple(roles),
            customer_id=None if is_machine else user_id,
            sid=None if is_machine else new_id(),
            client_id=user_id if is_machine else None,
            scope=None if scopes is None else " ".join(sorted(scopes)),
        )
        folder = key_folder(self.house.settings)
        return access_tokens.sign(claims, key=await folder.signing_key())


def email_of(name: str) -> str:
    return f"{name.lower()}@street.example"


def names_of(route: Route) -> set[str]:
    """Every id that a route takes: in its path, its query and its body."""
    in_path = {part[1:-1] for part in route.path.split("/") if part.startswith("{")}
    return in_path | _id_names(sent_to(route)) | set(_id_fields(route))


def sent_to(route: Route) -> Any:
    """The body that is sent to a route: its example, or what stands here."""
    if route.example is not None:
        return route.example
    return None if route.body is None else _BODIES[route.path]


def _id_names(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        here = {name for name in value if name.endswith("_id")}
        return here.union(*(_id_names(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(_id_names(part) for part in value))
    return set()


def _filled(value: Any, ids: Ids) -> Any:
    if isinstance(value, Mapping):
        return {
            name: ids[name] if name.endswith("_id") else _filled(part, ids)
            for name, part in value.items()
        }
    return [_filled(part, ids) for part in value] if isinstance(value, list) else value


def _id_fields(route: Route) -> list[str]:
    fields = () if route.query is None else route.query.__struct_fields__
    return [name for name in fields if name.endswith(_PLACES)]


def _query(route: Route, ids: Ids) -> dict[str, str]:
    if route.query is None:
        return {}
    known = {name: _QUERIES[name] for name in route.query.__struct_fields__ if name in _QUERIES}
    return known | {name: ids[name] for name in _id_fields(route)}


@asynccontextmanager
async def opened(db: Database, folder: Path) -> AsyncIterator[Street]:
    """The whole house on ``db``, served as long as the block lasts."""
    environ = {"GUILDER_DATA_DIR": str(folder), "GUILDER_RATE_LIMIT": "off"}
    settings, _ = load(environ, folder=folder)
    prepare_keys(settings)
    house = build_house(settings, db=db)
    async with (
        running(house.modules),
        serving(http_app(house)) as address,
        address.client() as http,
    ):
        yield Street(house=house, http=http)
