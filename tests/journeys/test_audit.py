"""Compliance looks into what happened: who paid whom in which request, and who was turned away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guilder.platform.identifiers import new_id
from guilder.platform.permissions import COMPLIANCE
from tests.journeys.conftest import Guilder, NewCustomer
from tests.support.customer import Customer, data
from tests.support.tokens import sign, signing_key
from tests.support.waiting import until


class Officer:
    """Somebody of compliance, who waits until audit has heard what they look for."""

    def __init__(self, house: Guilder) -> None:
        key = asyncio.run(signing_key(house.folder))
        token = sign(new_id(), key=key, roles=(COMPLIANCE,))
        self._http = house.http
        self._headers = {"Authorization": f"Bearer {token}"}

    def find(self, *, at_least: int = 1, **filters: object) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            answer = self._http.get("/api/v1/audit", params=filters, headers=self._headers)
            found[:] = data(answer)
            return len(found) >= at_least

        asyncio.run(until(there, f"{at_least} records of {filters}"))
        return found


@pytest.fixture(scope="module")
def officer(house: Guilder) -> Officer:
    return Officer(house)


def test_a_transfer_is_found_by_request_actor_wallet_and_its_own_id(
    officer: Officer, anna: Customer, ben: Customer
):
    annas, bens = anna.open_wallet(funds="100.00"), ben.open_wallet()
    request_id = f"journey-{new_id()}"
    paid = data(
        anna.post(
            "/transactions/transfer",
            headers={"X-Request-ID": request_id, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"},
            from_wallet_id=annas,
            to_wallet_id=bens,
            amount="12.50",
            currency="INR",
        ),
        201,
    )

    (record,) = officer.find(request_id=request_id)
    assert record["action"] == "transaction.completed"
    assert record["actor_id"] == str(anna.id)
    assert record["subject"] == paid["id"]
    assert record["trace_id"] == "ab" * 16
    assert record["details"]["amount"] == "12.50"
    for filters in ({"subject": paid["id"]}, {"subject": annas}, {"actor": str(anna.id)}):
        assert record in officer.find(**filters)


def test_a_wallet_that_is_frozen_shows_what_it_was_and_is(officer: Officer, anna: Customer):
    wallet = anna.open_wallet()

    data(anna.post(f"/wallets/{wallet}/freeze"))

    (record,) = officer.find(subject=wallet, action="account.frozen")
    assert record["before"]["status"] == "active"
    assert record["after"]["status"] == "frozen"
    assert record["actor_id"] == str(anna.id)


def test_every_attempt_at_somebody_elses_wallet_is_on_record_and_answered_as_for_none(
    officer: Officer, house: Guilder, anna: Customer, ben: Customer
):
    annas, bens = anna.open_wallet(funds="5.00"), ben.open_wallet(funds="5.00")
    nobodys, request_id = str(new_id()), f"journey-{new_id()}"

    def attempts(wallet: str, id_: str) -> list[tuple[int, str]]:
        headers = {**anna.authorization, "X-Request-ID": id_}
        answers = [
            house.http.request(method, f"/api/v1{path}", headers=headers)
            for method, path in (
                ("GET", f"/wallets/{wallet}"),
                ("GET", f"/wallets/{wallet}/balance"),
                ("GET", f"/wallets/{wallet}/history"),
                ("POST", f"/wallets/{wallet}/close"),
            )
        ]
        answers.append(
            anna.post(
                "/transactions/transfer",
                headers={"X-Request-ID": id_},
                from_wallet_id=wallet,
                to_wallet_id=annas,
                amount="1.00",
                currency="INR",
            )
        )
        return [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]

    of_ben = attempts(bens, request_id)
    of_nobody = attempts(nobodys, f"journey-{new_id()}")

    records = officer.find(at_least=5, request_id=request_id)
    assert of_ben == of_nobody == [(404, "NOT_FOUND")] * 5
    assert {record["action"] for record in records} == {"access.denied"}
    assert sorted(record["subject"] for record in records) == [
        "GET /api/v1/wallets/{wallet_id}",
        "GET /api/v1/wallets/{wallet_id}/balance",
        "GET /api/v1/wallets/{wallet_id}/history",
        "POST /api/v1/transactions/transfer",
        "POST /api/v1/wallets/{wallet_id}/close",
    ]
    assert {record["actor_id"] for record in records} == {str(anna.id)}


def test_a_wrong_password_is_on_record_with_the_name_and_the_address(
    officer: Officer, house: Guilder, customer: NewCustomer
):
    anna = customer("Anna")
    request_id = f"journey-{new_id()}"
    house.http.post(
        "/api/v1/auth/login",
        headers={"X-Request-ID": request_id},
        json={"email": anna.email, "password": "not her password"},
    )

    (record,) = officer.find(request_id=request_id)
    assert record["action"] == "access.denied"
    assert record["subject"] == "POST /api/v1/auth/login"
    assert record["details"]["code"] == "UNAUTHORIZED"
    assert record["personal"] == {"client_address": "127.0.0.1", "claimed": anna.email}


def test_a_customer_who_wants_to_look_is_turned_away_and_that_is_on_record(
    officer: Officer, house: Guilder, anna: Customer
):
    request_id = f"journey-{new_id()}"
    answer = house.http.get(
        "/api/v1/admin/audit-logs", headers={**anna.authorization, "X-Request-ID": request_id}
    )

    (record,) = officer.find(request_id=request_id)
    assert answer.status_code == 403
    assert (record["actor_id"], record["person_id"]) == (str(anna.id), str(anna.id))
    assert record["subject"] == "GET /api/v1/admin/audit-logs"
