"""Every route by every role with one's own and other people's ids, made from the routes themselves.

A route that declares nothing, or something that nobody has declared, fails here; so does one that
takes a kind of id of which there is no example.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from guilder.identity.domain.clients import FOR_PEOPLE
from guilder.identity.module import build_staff
from guilder.kernel.errors import Family
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.http.route import Access, Route
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import (
    ADMIN,
    CUSTOMER,
    PERMISSIONS,
    ROLES,
    SUPPORT,
    USER_ADMIN,
)
from tests.support.doors import OPEN_TO_ALL
from tests.support.street import Ids, Street, names_of, opened
from tests.support.town import PASSWORD, data

OWN = ROLES[CUSTOMER] | ROLES[USER_ADMIN]
"""Permissions that reach no further than what is the caller's own."""
STAFF_ROLES = sorted(ROLES.keys() - {CUSTOMER, USER_ADMIN})


def spelled(route: Route) -> str:
    return f"{route.method} {route.path}"


def permissions_of(route: Route) -> frozenset[str]:
    if isinstance(route.access, Access):
        return frozenset()
    return frozenset([route.access] if isinstance(route.access, str) else route.access)


def admits(route: Route, granted: frozenset[str], *, is_machine: bool = False) -> bool:
    if route.access is Access.ANY_CALLER:
        return not is_machine
    return route.access is Access.PUBLIC or bool(permissions_of(route) & granted)


def outcome(answer: httpx2.Response, ids: Ids) -> tuple[int, Any]:
    """The status and what the answer says, without the ids that were sent and its own."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return answer.status_code, None
    text = answer.text
    for sent in ids.values():
        text = text.replace(sent, "(an id)")
    body = json.loads(text)
    body.get("error", {}).pop("request_id", None)
    return answer.status_code, body


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Anna, who has something of everything; Ben, who has a wallet; and one of each staff role.

    Ben has a program of his own, too, and a clerk has a role of this installation that grants what
    customers have.
    """

    anna: str
    annas: Ids
    ben: str
    bens_portal: str
    bens_program: str
    bens_wallet: str
    clerk: str
    staff: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    async with opened(db, tmp_path_factory.mktemp("street")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(
    street: Street, db: Database, superuser: asyncpg.Connection[asyncpg.Record]
) -> People:
    anna_id = await street.register("Anna", "+919876500210")
    await street.register("Ben", "+919876500211")
    anna = (await street.login("Anna"))["token"]
    ben = (await street.login("Ben"))["token"]
    portal = (await street.login("Ben", account_type="user_admin"))["token"]
    staff = {role: await member(street, db, role) for role in STAFF_ROLES}
    return People(
        anna=anna,
        annas=await belongings(street, superuser, user_id=anna_id, token=anna),
        ben=ben,
        bens_portal=portal,
        bens_program=await program(street, ben),
        bens_wallet=await open_wallet(street, ben),
        clerk=await clerk(street, db, chief=staff[ADMIN]),
        staff=staff,
    )


async def member(street: Street, db: Database, role: str) -> str:
    """The token of somebody who is appointed to ``role``."""
    keys = OuterKeys(street.house.keys.folder)
    office = build_staff(db=db, keys=street.house.keys, contacts=keys)
    made = await office.appoint(
        email=f"{role}@guilder.example", role=role, full_name="Ben Rao", password=PASSWORD
    )
    return await street.token(made.user_id, roles=[role])


async def program(street: Street, token: str) -> str:
    """The token of a machine client that has all it can have of a customer's permissions."""
    body = {"name": "Books", "scopes": sorted(ROLES[CUSTOMER] - FOR_PEOPLE)}
    made = data(await street.ask("POST", "/oauth/clients", token=token, body=body), 201)
    answer = await street.http.post(
        "/api/v1/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(made["client_id"], made["client_secret"]),
    )
    return str(answer.json()["access_token"])


async def clerk(street: Street, db: Database, *, chief: str) -> str:
    """The token of somebody whose role is this installation's."""
    body = {"name": "clerk", "permissions": sorted(ROLES[CUSTOMER])}
    data(await street.ask("POST", "/rbac/roles", token=chief, body=body), 201)
    office = build_staff(
        db=db, keys=street.house.keys, contacts=OuterKeys(street.house.keys.folder)
    )
    made = await office.appoint(
        email="clerk@guilder.example", role=SUPPORT, full_name="Ben Rao", password=PASSWORD
    )
    path = f"/rbac/users/{made.user_id}/roles"
    body = {"roles": ["clerk"], "reason": "Works at the counter."}
    data(await street.ask("PUT", path, token=chief, body=body))
    return await street.token(made.user_id, roles=["clerk"])


async def open_wallet(street: Street, token: str) -> str:
    made = data(await street.ask("POST", "/wallets", token=token, body={"currency": "INR"}), 201)
    data(await street.ask("POST", f"/wallets/{made['id']}/activate", token=token))
    return str(made["id"])


async def belongings(
    street: Street,
    superuser: asyncpg.Connection[asyncpg.Record],
    *,
    user_id: str,
    token: str,
) -> Ids:
    """Something of everything that somebody can have, each by the name that routes call it."""

    async def made(path: str, status: int = 201, **body: object) -> Any:
        return data(await street.ask("POST", path, token=token, body=body), status)

    async def first(path: str) -> str:
        return str(data(await street.ask("GET", path, token=token))[0]["id"])

    endpoint = await made("/webhooks", url="https://example.com/hooks")
    wallet_id = await open_wallet(street, token)
    money = {"wallet_id": wallet_id, "amount": "100.00", "currency": "INR"}
    payment = await made("/transactions/deposit", **money)
    passwords = {"current_password": PASSWORD, "new_password": "AnotherPass123"}
    asked = await made("/auth/password/change", 202, **passwords)
    device = await made("/notifications/devices", token="a-token-of-a-push-service")
    client = await made("/oauth/clients", name="Bookkeeping", scopes=["wallets:read"])
    await street.catch_up()
    return Ids(
        id=user_id,
        user_id=user_id,
        wallet_id=wallet_id,
        account_id=wallet_id,
        from_wallet_id=wallet_id,
        transaction_id=payment["id"],
        endpoint_id=endpoint["id"],
        delivery_id=await first(f"/webhooks/{endpoint['id']}/deliveries"),
        notification_id=await first("/notifications"),
        device_id=device["id"],
        verification_id=asked["verification_id"],
        client_id=client["client_id"],
        session_id=await first("/auth/sessions"),
        passkey_id=await passkey(superuser, user_id),
    )


async def passkey(superuser: asyncpg.Connection[asyncpg.Record], user_id: str) -> str:
    added = await superuser.fetchval(
        "INSERT INTO identity.passkeys (id, user_id, credential_id, public_key, sign_count, "
        "is_synced, transports, name, added_at) "
        "VALUES ($1, $2, '\\x01', '\\x02', 0, false, '{}', 'Her phone', now()) RETURNING id",
        new_id(),
        user_id,
    )
    return str(added)


_IDLE = "No route asks for it yet."


async def test_every_route_declares_who_may_call_it(street: Street) -> None:
    public = {spelled(route) for route in street.routes if route.access is Access.PUBLIC}
    named = {one for route in street.routes for one in permissions_of(route)}
    silent = [
        spelled(route)
        for route in street.routes
        if not isinstance(route.access, Access) and not permissions_of(route)
    ]

    idle = {name for name, meaning in PERMISSIONS.items() if meaning.endswith(_IDLE)}

    assert silent == []
    assert named <= PERMISSIONS.keys()
    assert PERMISSIONS.keys() - named == idle | {"tokens:introspect"}  # which OAuth's own asks for
    assert public == OPEN_TO_ALL


async def test_every_permission_has_a_meaning_and_somebody_who_has_it() -> None:
    granted = frozenset().union(*ROLES.values())

    assert granted == PERMISSIONS.keys()
    assert all(meaning.endswith(".") for meaning in PERMISSIONS.values())


async def test_nobody_gets_in_without_a_token_where_the_door_is_closed(street: Street) -> None:
    wrong = []
    for route in street.routes:
        answer = await street.call(route, token=None, ids=Ids())
        closed = route.access is not Access.PUBLIC
        if answer.status_code >= 500 or (closed and answer.status_code != 401):
            wrong.append((spelled(route), answer.status_code))

    assert wrong == [], wrong


async def judged(
    street: Street, granted: frozenset[str], *, token: str, is_machine: bool = False
) -> list[tuple[str, int]]:
    """Every route that lets somebody in who should stay out, keeps out who should get in, or
    breaks.
    """
    wrong = []
    for route in street.routes:
        if route.access is Access.PUBLIC:
            continue
        answer = await street.call(route, token=token, ids=Ids())
        status = answer.status_code
        if admits(route, granted, is_machine=is_machine):
            families = {one.family for one in route.raises}
            is_wrong = (
                status >= 500
                or status == 405
                or (status == 401 and Family.UNAUTHENTICATED not in families)
                or (status == 403 and Family.FORBIDDEN not in families)
            )
        else:
            is_wrong = status != 403
        if is_wrong:
            wrong.append((spelled(route), status))
    return wrong


@pytest.mark.parametrize("role", STAFF_ROLES)
async def test_staff_get_as_far_as_their_role_and_no_further(
    street: Street, people: People, role: str
) -> None:
    assert await judged(street, ROLES[role], token=people.staff[role]) == []


async def test_customers_get_as_far_as_customers_may(street: Street, people: People) -> None:
    user_id = await street.register("Gita", "+919876500212")
    token = await street.token(UUID(user_id), roles=[CUSTOMER])

    assert await judged(street, ROLES[CUSTOMER], token=token) == []


async def test_the_portal_gets_as_far_as_it_may(street: Street, people: People) -> None:
    login = await street.login("Ben", account_type="user_admin")
    token = await street.token(UUID(login["user"]["id"]), roles=[USER_ADMIN])

    assert await judged(street, ROLES[USER_ADMIN], token=token) == []


@pytest.mark.parametrize("scopes", [frozenset[str](), ROLES[CUSTOMER], frozenset(PERMISSIONS)])
async def test_machines_get_as_far_as_their_scopes_and_to_nothing_personal(
    street: Street, scopes: frozenset[str]
) -> None:
    token = await street.token(new_id(), scopes=scopes)

    assert await judged(street, scopes, token=token, is_machine=True) == []


async def test_an_unknown_role_opens_nothing(street: Street, people: People) -> None:
    token = await street.token(new_id(), roles=["emperor"])
    wrong = [
        spelled(route)
        for route in street.routes
        if not isinstance(route.access, Access)
        and (await street.call(route, token=token, ids=Ids())).status_code != 403
    ]

    assert wrong == [], wrong


def reaches_own_things_only(route: Route, granted: frozenset[str]) -> bool:
    """Whether a caller with these permissions is let in, and by none that reaches others'."""
    if route.access is Access.PUBLIC or not admits(route, granted):
        return False
    return (permissions_of(route) & granted) <= OWN


async def test_there_is_an_example_of_every_id_that_a_customer_can_send(
    street: Street, people: People
) -> None:
    known = people.annas.keys() | {"to_wallet_id", "provider"}
    missing = {
        (spelled(route), name)
        for route in street.routes
        if reaches_own_things_only(route, OWN)
        for name in names_of(route) - known
    }

    assert missing == set()


async def test_everybody_reaches_what_is_their_own(street: Street, people: People) -> None:
    wrong = []
    for route in street.routes:
        asks = route.method == "GET" and reaches_own_things_only(route, ROLES[CUSTOMER])
        if asks and names_of(route) & people.annas.keys():
            answer = await street.call(route, token=people.anna, ids=people.annas)
            if answer.status_code != 200:
                wrong.append((spelled(route), answer.status_code))

    assert wrong == [], wrong


@pytest.mark.parametrize("who", ["ben", "bens_portal", "bens_program", "clerk", *STAFF_ROLES])
async def test_what_is_somebody_elses_looks_like_nobodys(
    street: Street, people: People, who: str
) -> None:
    token = people.staff[who] if who in people.staff else getattr(people, who)
    granted = ROLES.get(who) or ROLES[USER_ADMIN if who == "bens_portal" else CUSTOMER]
    before = await everything_of(street, people)
    wrong = []
    for route in street.routes:
        if not reaches_own_things_only(route, granted) or not names_of(route):
            continue
        theirs = Ids(people.annas, to_wallet_id=people.bens_wallet)
        nobodys = Ids(to_wallet_id=people.bens_wallet)
        found = outcome(await street.call(route, token=token, ids=theirs), theirs)
        expected = outcome(await street.call(route, token=token, ids=nobodys), nobodys)
        if found != expected:
            wrong.append((spelled(route), found, expected))
        is_list = route.method == "GET" and found[0] == 200 and route.is_list
        if found[0] < 400 and not (is_list and found[1]["data"] == []):
            wrong.append((spelled(route), found, None))

    assert wrong == [], wrong
    assert await everything_of(street, people) == before


async def everything_of(street: Street, people: People) -> list[Any]:
    """What Anna sees of all that is hers."""
    return [
        outcome(await street.call(route, token=people.anna, ids=people.annas), Ids())
        for route in street.routes
        if route.method == "GET"
        and reaches_own_things_only(route, ROLES[CUSTOMER])
        and names_of(route) & people.annas.keys()
    ]
