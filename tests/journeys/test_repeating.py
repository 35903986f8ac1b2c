"""Repeating a request is safe: NovaPay's idempotency scenarios A, B and E over HTTP.

C, a crash, is the sweep of failpoints; D, a key after a day, stands in the integration tests,
because a day that is skipped past Guilder is an edit that `guilder verify` finds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import httpx2
import pytest

from tests.journeys.conftest import NewCustomer
from tests.support.customer import Customer, data, error

REPLAYED = "idempotency-replayed"


@pytest.fixture
def purse(customer: NewCustomer) -> tuple[Customer, str, str]:
    """Somebody, a wallet of theirs with 1000.00 in it, and an empty one."""
    owner = customer("Chitra")
    return owner, owner.open_wallet(funds="1000.00"), owner.open_wallet()


def test_scenario_a_a_request_sent_twice_moves_money_once(purse: tuple[Customer, str, str]):
    owner, source, to = purse

    first = owner.transfer(source, to, "300.00", key="a-1")
    second = owner.transfer(source, to, "300.00", key="a-1")

    assert data(first, 201) == data(second, 201)
    assert REPLAYED not in first.headers
    assert second.headers[REPLAYED] == "true"
    assert owner.balance(source) == "700.00"


def test_scenario_a_holds_for_a_refusal(purse: tuple[Customer, str, str]):
    owner, source, to = purse

    first = owner.transfer(source, to, "1000.01", key="a-2")
    data(owner.transfer(source, to, "1.00"), 201)
    second = owner.transfer(source, to, "1000.01", key="a-2")

    refusals = [error(answer, 412) for answer in (first, second)]
    assert {refusal["code"] for refusal in refusals} == {"INSUFFICIENT_FUNDS"}
    assert second.headers[REPLAYED] == "true"
    assert refusals[0]["message"] == refusals[1]["message"]
    assert owner.balance(source) == "999.00"


def test_scenario_b_requests_at_the_same_moment_have_one_effect_and_one_answer(
    purse: tuple[Customer, str, str],
):
    owner, source, to = purse
    barrier = Barrier(3)

    def send(_: int) -> httpx2.Response:
        barrier.wait()
        return owner.transfer(source, to, "300.00", key="b-1")

    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(send, range(3)))

    assert len({data(answer, 201)["id"] for answer in answers}) == 1
    assert sum(REPLAYED in answer.headers for answer in answers) == 2
    assert owner.balance(source) == "700.00"


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("amount", {"amount": "300.01"}),
        ("description", {"description": "Rent"}),
        ("to_wallet_id", {}),
    ],
)
def test_scenario_e_another_request_under_the_key_is_refused_and_the_field_named(
    purse: tuple[Customer, str, str], field: str, other: dict[str, str]
):
    owner, source, to = purse
    data(owner.transfer(source, to, "300.00", key="e-1"), 201)
    changed = {
        "from_wallet_id": source,
        "to_wallet_id": to if field != "to_wallet_id" else owner.open_wallet(),
        "amount": "300.00",
        "currency": "INR",
        **other,
    }

    answer = owner.post("/transactions/transfer", headers={"Idempotency-Key": "e-1"}, **changed)

    refusal = error(answer, 409)
    assert refusal["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert list(refusal["details"]["fields"]) == [field]
    assert owner.balance(source) == "700.00"


def test_a_key_that_one_kind_of_payment_used_is_no_other_kinds(purse: tuple[Customer, str, str]):
    owner, source, _ = purse
    data(owner.deposit(source, "5.00", key="k-1"), 201)

    refusal = error(owner.withdraw(source, "5.00", key="k-1"), 409)

    assert refusal["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert "type" in refusal["details"]["fields"]


def test_a_request_that_was_not_valid_does_not_use_its_key(purse: tuple[Customer, str, str]):
    owner, source, to = purse

    error(owner.transfer(source, to, "0.001", key="v-1"), 400)
    error(owner.transfer(source, source, "1.00", key="v-1"), 400)
    done = owner.transfer(source, to, "1.00", key="v-1")

    assert REPLAYED not in done.headers
    assert data(done, 201)["amount"] == "1.00"


def test_the_same_key_is_another_one_for_somebody_else(
    purse: tuple[Customer, str, str], customer: NewCustomer
):
    owner, source, to = purse
    other = customer("Dev")
    others = other.open_wallet(funds="10.00")

    done = [
        owner.transfer(source, to, "1.00", key="shared"),
        other.transfer(others, to, "1.00", key="shared"),
    ]

    assert all(REPLAYED not in answer.headers for answer in done)
    assert len({data(answer, 201)["id"] for answer in done}) == 2


@pytest.mark.parametrize("key", ["", "a b", "ключ".encode(), "x" * 256])
def test_a_key_that_cannot_be_one_is_refused(purse: tuple[Customer, str, str], key: str | bytes):
    owner, source, to = purse

    refusal = error(owner.transfer(source, to, "1.00", key=key), 400)

    assert refusal["code"] == "VALIDATION_ERROR"
    assert owner.balance(source) == "1000.00"
