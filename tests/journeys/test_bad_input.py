"""Whatever is sent where money moves: a clear 400, nothing stored, and never a 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg
import httpx2
import pytest

from tests.journeys.conftest import Guilder
from tests.support.corpora import (
    BAD_AMOUNTS,
    BAD_BODIES,
    BAD_CURRENCIES,
    BAD_IDS,
    BAD_LINES,
    BAD_NAMES,
)
from tests.support.customer import Customer, data
from tests.support.waiting import wait_until

_TABLES: Final = """
    SELECT format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname IN ('ledger', 'payments', 'wallets', 'identity')
        AND c.relname NOT IN ('sign_in_failures', 'verified_heads')
"""
"""Failed sign-ins are counted: that is what they leave. How far the ledger is verified is noted
meanwhile."""
_FACTS: Final = """
    SELECT count(*) FROM platform.outbox
    WHERE type NOT LIKE ALL ('{com.guilder.access.%,com.guilder.notification.%}')
"""
"""Who was denied what is told a little later, and is all that a refusal leaves; what people are
told of earlier payments goes out meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where Anna sends what she sends, and a body for each route that would be accepted."""

    house: Guilder
    anna: Customer
    good: Mapping[str, Mapping[str, str]]

    def send(self, path: str, body: bytes, **headers: str) -> httpx2.Response:
        return self.house.http.post(
            f"/api/v1{path}",
            content=body,
            headers={
                "Content-Type": "application/json",
                **self.anna.authorization,
                **headers,
            },
        )

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""

        async def count() -> dict[str, int]:
            connection = await asyncpg.connect(self.house.superuser_url())
            try:
                tables = [row[0] for row in await connection.fetch(_TABLES)]
                counts = (f"SELECT '{table}', count(*) FROM {table}" for table in tables)
                rows = await connection.fetch(" UNION ALL ".join(counts))
                facts = await connection.fetchval(_FACTS)
                return {row[0]: row[1] for row in rows} | {"platform.outbox": facts}
            finally:
                await connection.close()

        return asyncio.run(count())


def has_default_wallet(customer: Customer) -> bool:
    return customer.get("/wallet").is_success


@pytest.fixture(scope="module")
def desk(house: Guilder, anna: Customer, ben: Customer) -> Desk:
    annas, bens = anna.open_wallet(funds="100.00"), ben.open_wallet()
    for customer in (anna, ben):  # what signing up brings comes a moment later, by an event
        wait_until(partial(has_default_wallet, customer), "the default wallet is there")
    into = {"wallet_id": annas, "amount": "1.00", "currency": "INR", "description": "tea"}
    return Desk(
        house=house,
        anna=anna,
        good={
            "/transactions/deposit": into,
            "/transactions/topup": into,
            "/transactions/withdrawal": into,
            "/transactions/transfer": {
                "from_wallet_id": annas,
                "to_wallet_id": bens,
                "amount": "1.00",
                "currency": "INR",
                "description": "tea",
            },
            "/wallets": {"currency": "INR", "label": "Tea"},
            "/auth/register": {
                "email": "gita@example.com",
                "password": "a long enough passphrase",
                "full_name": "Gita Rao",
                "phone": "+919811100077",
            },
            "/auth/login": {"email": "gita@example.com", "password": "a long enough passphrase"},
        },
    )


def bad_values(field: str) -> tuple[str, ...]:
    """What does not fit a field of this name."""
    match field:
        case "amount":
            return BAD_AMOUNTS
        case "currency":
            return BAD_CURRENCIES
        case "label":
            return BAD_NAMES
        case "description":
            return BAD_LINES
        case "email" | "phone" | "full_name" | "password":
            return (*BAD_LINES, '""')
        case _:
            return BAD_IDS


def spoiled(good: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The good body with one field at a time made bad, and what was done to it."""
    for field in good:
        for value in bad_values(field):
            pairs = ((n, value if n == field else json.dumps(v)) for n, v in good.items())
            body = ", ".join(f'"{name}": {text}' for name, text in pairs)
            yield f"{field}: {value[:40]}", f"{{{body}}}".encode()


def assert_all_refused(desk: Desk, path: str, sent: Mapping[str, bytes], *allowed: int) -> None:
    before = desk.rows()

    wrong = {}
    for what, body in sent.items():
        answer = desk.send(path, body)
        reply = answer.json()
        if answer.status_code not in allowed or reply["success"] or not reply["error"]["message"]:
            wrong[what] = f"{answer.status_code} {answer.text[:200]}"

    assert not wrong
    assert desk.rows() == before


SOMEBODY = "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11"
NOT_THEIRS: Mapping[str, Any] = {
    "status": "completed",
    "user_id": SOMEBODY,
    "owner_id": SOMEBODY,
    "account_id": SOMEBODY,
    "id": SOMEBODY,
    "type": "deposit",
    "balance": "1000000.00",
    "is_default": True,
    "roles": ["admin"],
    "created_at": "2026-01-01T00:00:00Z",
    "idempotency_key": "mine",
    "__proto__": {},
}
PATHS = (
    "/transactions/deposit",
    "/transactions/topup",
    "/transactions/withdrawal",
    "/transactions/transfer",
    "/wallets",
    "/auth/register",
    "/auth/login",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_field_that_does_not_fit_is_400_and_nothing_is_stored(desk: Desk, path: str):
    # a name that nobody can have may be told as credentials that are nobody's
    allowed = (400, 401) if path == "/auth/login" else (400,)

    assert_all_refused(desk, path, dict(spoiled(desk.good[path])), *allowed)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_none_is_400_and_nothing_is_stored(desk: Desk, path: str):
    sent = {repr(body[:40]): body for body in BAD_BODIES}

    assert_all_refused(desk, path, sent, 400)


@pytest.mark.parametrize("path", PATHS)
def test_a_field_that_is_not_the_callers_to_set_is_refused(desk: Desk, path: str):
    before = desk.rows()

    refusals = {}
    for name, value in NOT_THEIRS.items():
        answer = desk.send(path, json.dumps({**desk.good[path], name: value}).encode())
        refusals[name] = (answer.status_code, [*answer.json()["error"]["details"]["fields"]])

    assert refusals == {name: (400, [name]) for name in NOT_THEIRS}
    assert desk.rows() == before


@pytest.mark.parametrize("path", PATHS)
def test_a_field_that_is_sent_twice_is_refused(desk: Desk, path: str):
    good = json.dumps(desk.good[path])
    name, value = next(iter(desk.good[path].items()))
    before = desk.rows()

    answer = desk.send(path, f'{{"{name}": "{value}", {good[1:]}'.encode())

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "BAD_REQUEST"
    assert desk.rows() == before


@pytest.mark.parametrize("path", PATHS)
def test_only_json_is_read(desk: Desk, path: str):
    body = json.dumps(desk.good[path]).encode()

    answers = {
        content_type: desk.send(path, body, **{"Content-Type": content_type}).status_code
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/xml")
    }

    assert set(answers.values()) == {415}


def test_decimals_are_those_of_the_currency(desk: Desk):
    anna = desk.anna
    yen, dinars = anna.open_wallet(currency="JPY"), anna.open_wallet(currency="BHD")

    good = [
        data(anna.deposit(yen, "500", currency="JPY"), 201)["amount"],
        data(anna.deposit(dinars, "1.250", currency="BHD"), 201)["amount"],
        data(anna.deposit(dinars, 1.25, currency="BHD"), 201)["amount"],
    ]
    bad = [
        anna.deposit(yen, "500.0", currency="JPY").status_code,
        anna.deposit(yen, 0.5, currency="JPY").status_code,
        anna.deposit(dinars, "1.2505", currency="BHD").status_code,
    ]

    assert good == ["500", "1.250", "1.250"]
    assert bad == [400, 400, 400]
