"""A wallet's life: the one made at sign-up, freezing, closing, history, and asking too often."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.journeys.conftest import Guilder, NewCustomer
from tests.support.customer import Customer, data, error
from tests.support.guilder import PATIENCE_S, Running, environment, guilder


def default_wallet(customer: Customer) -> Any:
    """The wallet that sign-up made, once it is there."""
    deadline = time.monotonic() + PATIENCE_S
    while (answer := customer.get("/wallet")).status_code == 404:
        assert time.monotonic() < deadline, "there is no default wallet"
    return data(answer)


def test_a_default_wallet_appears_after_sign_up_and_takes_money_at_once(customer: NewCustomer):
    anna = customer("Anna")

    wallet = default_wallet(anna)

    assert (wallet["status"], wallet["currency"], wallet["is_default"]) == ("active", "INR", True)
    assert wallet["user_id"] == str(anna.id)
    data(anna.deposit(wallet["id"], "25.00"), 201)
    assert data(anna.get("/wallet"))["balance"] == "25.00"
    assert [line["amount"] for line in data(anna.get("/wallet/history"))] == ["25.00"]
    assert [listed["id"] for listed in data(anna.get("/wallets"))] == [wallet["id"]]


def test_a_wallet_must_be_activated_before_it_is_used(anna: Customer):
    wallet_id = data(anna.post("/wallets", currency="INR"), 201)["id"]

    refused = error(anna.deposit(wallet_id, "1.00"), 412)
    data(anna.post(f"/wallets/{wallet_id}/activate"))
    done = data(anna.deposit(wallet_id, "1.00"), 201)

    assert refused["code"] == "WALLET_NOT_ACTIVE"
    assert done["status"] == "completed"


def test_a_frozen_wallet_neither_gives_nor_takes_until_it_is_unfrozen(
    anna: Customer, ben: Customer
):
    annas, bens = anna.open_wallet(funds="50.00"), ben.open_wallet(funds="50.00")

    frozen = data(anna.post(f"/wallets/{annas}/freeze"))
    refusals = [
        error(answer, 412)
        for answer in (
            anna.withdraw(annas, "1.00"),
            anna.transfer(annas, bens, "1.00"),
            anna.deposit(annas, "1.00"),
            ben.transfer(bens, annas, "1.00"),
        )
    ]
    thawed = data(anna.post(f"/wallets/{annas}/unfreeze"))
    done = data(anna.transfer(annas, bens, "1.00"), 201)

    assert (frozen["status"], thawed["status"]) == ("frozen", "active")
    assert {refusal["code"] for refusal in refusals} == {"ACCOUNT_FROZEN"}
    assert done["status"] == "completed"
    assert (anna.balance(annas), ben.balance(bens)) == ("49.00", "51.00")


def test_a_wallet_closes_once_it_is_empty_and_stays_closed(anna: Customer):
    wallet_id = anna.open_wallet(funds="5.00")

    full = error(anna.post(f"/wallets/{wallet_id}/close"), 412)
    data(anna.withdraw(wallet_id, "5.00"), 201)
    closed = data(anna.post(f"/wallets/{wallet_id}/close"))
    refusals = [
        error(anna.deposit(wallet_id, "1.00"), 412)["code"],
        error(anna.post(f"/wallets/{wallet_id}/activate"), 409)["code"],
    ]

    assert full["code"] == "ACCOUNT_NOT_EMPTY"
    assert closed["status"] == "closed"
    assert refusals == ["ACCOUNT_CLOSED", "WALLET_CLOSED"]
    assert len(data(anna.get(f"/wallets/{wallet_id}/history"))) == 2


def test_what_staff_froze_only_staff_gives_back(
    house: Guilder, customer: NewCustomer, tmp_path: Path
):
    dora, clara = customer("Dora"), customer("Clara")
    wallet_id = dora.open_wallet()
    clara.prove_email()
    create = ("admin", "create", "--email", clara.email, "--existing")
    made = guilder(*create, env=environment(house.folder), folder=tmp_path)
    assert made.returncode == 0, made.stderr
    clara.sign_in()

    frozen = data(clara.post("/wallet/freeze", user_id=str(dora.id)))
    refusals = [
        error(dora.post(f"/wallets/{wallet_id}/{act}"), 403)["code"]
        for act in ("unfreeze", "close")
    ]
    data(clara.post("/wallet/unfreeze", user_id=str(dora.id)))

    assert {wallet["status"] for wallet in frozen} == {"frozen"}
    assert refusals == ["WALLET_FROZEN_BY_STAFF"] * 2
    assert data(dora.get(f"/wallets/{wallet_id}"))["status"] == "active"


def test_history_is_read_in_pages_that_add_up(customer: NewCustomer):
    eva = customer("Eva")
    wallet_id = eva.open_wallet()
    for amount in range(1, 8):
        data(eva.deposit(wallet_id, f"{amount}.00"), 201)

    lines: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = eva.get(f"/wallets/{wallet_id}/history", limit=3, **cursor).json()
        lines += page["data"]
        if not page["meta"]["has_more"]:
            break
        cursor = {"cursor": page["meta"]["next_cursor"]}

    assert [line["amount"] for line in lines] == [f"{amount}.00" for amount in range(7, 0, -1)]
    assert [line["sequence"] for line in lines] == list(range(7, 0, -1))
    assert lines[0]["balance_after"] == eva.balance(wallet_id) == "28.00"


def test_the_balance_at_a_time_is_what_it_was_then(customer: NewCustomer):
    fay = customer("Fay")
    wallet_id = fay.open_wallet()
    moments = [data(fay.deposit(wallet_id, "10.00"), 201)["created_at"] for _ in range(3)]

    then = [
        data(fay.get(f"/wallets/{wallet_id}/balance", at=moment))["balance"] for moment in moments
    ]
    before = data(fay.get(f"/wallets/{wallet_id}/balance", at="2020-01-01T00:00:00Z"))

    assert then == ["10.00", "20.00", "30.00"]
    assert before["balance"] == "0.00"


def test_limits_of_somebody_unverified_are_told(customer: NewCustomer):
    gus = customer("Gus")
    wallet_id = gus.open_wallet()

    single = error(gus.deposit(wallet_id, "10000.01"), 412)
    for _ in range(2):
        data(gus.deposit(wallet_id, "10000.00"), 201)
    daily = error(gus.deposit(wallet_id, "0.01"), 412)

    assert [refusal["code"] for refusal in (single, daily)] == ["LIMIT_EXCEEDED"] * 2
    assert single["details"]["window"] == "transaction"
    assert single["details"]["limit"] == "10000.00"
    assert daily["details"]["window"] == "day"
    assert daily["details"]["available"] == "0.00"


@pytest.fixture
def limited(house: Guilder, tmp_path: Path) -> Any:
    """The same Guilder through another process, which lets each user ask six times a day."""
    env = environment(house.folder, RATE_LIMIT="6/day")
    with Running("serve", env=env, folder=tmp_path) as serve:
        address = serve.wait_for(r"on (http://[\w.:]+)")[1]
        with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
            yield http
        assert serve.interrupt() == 0


def test_whoever_asks_too_often_is_told_to_wait_and_nobody_else(
    limited: httpx2.Client, anna: Customer, ben: Customer
):
    def ask(customer: Customer) -> httpx2.Response:
        return limited.get("/api/v1/wallets", headers=customer.authorization)

    answers = [ask(anna) for _ in range(8)]
    bens = ask(ben)

    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2
    assert error(answers[-1], 429)["code"] == "RATE_LIMIT_EXCEEDED"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 86_401
    assert "ratelimit" in answers[0].headers
    assert bens.status_code == 200
