"""Nobody sees or moves what is somebody else's, and nobody learns that it exists."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import httpx2
import pytest

from tests.journeys.conftest import Guilder
from tests.support.customer import Customer, data, error
from tests.support.doors import OPEN_TO_ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What Anna has: ids that Ben found out."""

    wallet: str
    payment: str
    failed: str


@pytest.fixture(scope="module")
def annas(anna: Customer, ben: Customer) -> Belongings:
    wallet = anna.open_wallet(funds="100.00")
    failed = error(anna.transfer(wallet, ben.open_wallet(), "1000.00"), 412)
    assert failed["code"] == "INSUFFICIENT_FUNDS"
    listed = data(anna.get("/transactions", wallet_id=wallet))
    by_status = {payment["status"]: payment["id"] for payment in listed}
    return Belongings(wallet=wallet, payment=by_status["completed"], failed=by_status["failed"])


@pytest.fixture(scope="module")
def unknown() -> Belongings:
    return Belongings(wallet=str(uuid4()), payment=str(uuid4()), failed=str(uuid4()))


def reads(things: Belongings) -> list[str]:
    wallet = things.wallet
    return [
        f"/wallets/{wallet}",
        f"/wallets/{wallet}/balance",
        f"/wallets/{wallet}/balance?at=2026-01-01T00:00:00Z",
        f"/wallets/{wallet}/history",
        f"/transactions/account/{wallet}",
        f"/transactions?wallet_id={wallet}",
        f"/transactions/search?wallet_id={wallet}",
        f"/transactions/{things.payment}",
        f"/transactions/{things.failed}",
        f"/ledger/accounts/{wallet}/statement",
        f"/ledger/wallets/{wallet}/entries",
        f"/ledger/wallets/{wallet}/chain",
    ]


READS = len(reads(Belongings(wallet="", payment="", failed="")))


@pytest.mark.parametrize("number", range(READS))
def test_what_is_somebody_elses_looks_like_what_does_not_exist(
    ben: Customer, annas: Belongings, unknown: Belongings, number: int
):
    refusals = []
    for things in (annas, unknown):
        refusal = error(ben.get(reads(things)[number]), 404)
        details = refusal.get("details", {})
        # an id that was asked for may be repeated
        repeated = {name: value == things.wallet for name, value in details.items()}
        refusals.append((refusal["code"], refusal["message"], repeated))

    assert refusals[0] == refusals[1]
    assert refusals[0][0] == "NOT_FOUND"


@pytest.mark.parametrize("number", range(READS))
def test_the_owner_sees_it(anna: Customer, annas: Belongings, number: int):
    assert anna.get(reads(annas)[number]).status_code == 200


@pytest.mark.parametrize("act", ["activate", "freeze", "unfreeze", "close"])
def test_nobody_does_anything_to_somebody_elses_wallet(
    anna: Customer, ben: Customer, annas: Belongings, act: str
):
    refusal = error(ben.post(f"/wallets/{annas.wallet}/{act}"), 404)

    assert refusal["code"] == "NOT_FOUND"
    assert data(anna.get(f"/wallets/{annas.wallet}"))["status"] == "active"


@pytest.mark.parametrize(
    "pay",
    [
        lambda ben, wallet, own: ben.deposit(wallet, "1.00"),
        lambda ben, wallet, own: ben.withdraw(wallet, "1.00"),
        lambda ben, wallet, own: ben.transfer(wallet, own, "1.00"),
        lambda ben, wallet, own: ben.post(
            "/transactions/topup", wallet_id=wallet, amount="1.00", currency="INR"
        ),
    ],
    ids=["deposit", "withdrawal", "transfer", "topup"],
)
def test_nobody_moves_somebody_elses_money(
    anna: Customer,
    ben: Customer,
    annas: Belongings,
    pay: Callable[[Customer, str, str], httpx2.Response],
):
    before = anna.balance(annas.wallet)

    refusal = error(pay(ben, annas.wallet, ben.open_wallet()), 404)

    assert refusal["code"] == "NOT_FOUND"
    assert anna.balance(annas.wallet) == before


def test_who_receives_sees_the_payment_and_not_the_failed_attempts(
    anna: Customer, ben: Customer, annas: Belongings
):
    bens = ben.open_wallet()
    sent = data(anna.transfer(annas.wallet, bens, "1.00"), 201)
    error(anna.transfer(annas.wallet, bens, "5000.00"), 412)

    listed = data(ben.get("/transactions", wallet_id=bens))

    assert [payment["id"] for payment in listed] == [sent["id"]]
    assert data(ben.get(f"/transactions/{sent['id']}"))["id"] == sent["id"]
    assert ben.get(f"/transactions/{annas.failed}").status_code == 404


def test_a_cursor_of_somebody_else_opens_nothing(anna: Customer, ben: Customer):
    wallet = anna.open_wallet(funds="5.00")
    anna.deposit(wallet, "1.00")
    page = anna.get("/transactions", limit=1).json()

    answer = ben.get("/transactions", limit=1, cursor=page["meta"]["next_cursor"])

    assert page["meta"]["has_more"] is True
    assert error(answer, 400)["code"] in {"BAD_REQUEST", "VALIDATION_ERROR"}


def test_every_route_but_the_public_ones_asks_for_a_token(house: Guilder):
    document = house.http.get("/openapi.json").json()
    asked, public = {}, set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            spelled = f"{method.upper()} {path.removeprefix('/api/v1')}"
            if not operation.get("security"):
                public.add(spelled)
                continue
            address = path.replace("{", "").replace("}", "")
            answer = house.http.request(method.upper(), address, json={})
            asked[spelled] = answer.status_code

    assert set(asked.values()) == {401}
    assert public == OPEN_TO_ALL | {"GET /health/live", "GET /health/ready"}


def test_routes_of_staff_refuse_customers(house: Guilder, anna: Customer, annas: Belongings):
    """Whatever customers may not do is 403 before anything of the request is looked at."""
    document = house.http.get("/openapi.json").json()
    writes = {
        path.replace("{account_id}", annas.wallet).replace("{control_id}", annas.wallet): method
        for path, operations in document["paths"].items()
        for method in operations
        if method in {"post", "put", "patch", "delete"}
        and ("/ledger/" in path or path.startswith("/api/v1/wallet/"))
    }

    answers = {
        path: house.http.request(
            method.upper(), path, json={}, headers=anna.authorization
        ).status_code
        for path, method in writes.items()
    }

    assert len(answers) >= 10
    assert set(answers.values()) == {403}
