"""From signing up to the first payments: Nivo's flows 1 to 5, field by field, and its example."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.journeys.conftest import Guilder, NewCustomer
from tests.support.customer import PASSWORD, Customer, data, error

EXAMPLE = Path(__file__).with_name("complete_user_journey.sh")
"""The reference document's own text; only the port is another."""


def documents(text: str) -> list[Any]:
    """The JSON documents that stand one after the other in ``text``."""
    decoder, found = json.JSONDecoder(), []
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def is_recent(moment: str) -> bool:
    """Whether it is a time of the last minutes, as RFC 3339 writes it in UTC."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", moment)
    return abs(datetime.fromisoformat(moment) - datetime.now(UTC)) < timedelta(minutes=10)


def is_id(text: str) -> bool:
    return str(UUID(text)) == text


def test_the_complete_user_journey_example_runs_word_for_word(house: Guilder):
    port = house.address.rpartition(":")[2]
    script = EXAMPLE.read_text().replace("localhost:8000", f"localhost:{port}")

    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    registered, activated, deposited, balance = documents(ended.stdout)
    assert all(answer["success"] for answer in (registered, activated, deposited, balance))
    assert registered["data"]["email"] == "john@example.com"
    assert activated["data"]["status"] == "active"
    assert deposited["data"]["status"] == "completed"
    assert deposited["data"]["to_wallet_id"] == activated["data"]["id"]
    assert balance["data"]["balance"] == "10000.00"


def test_flow_1_registers_and_signs_in(house: Guilder):
    http = house.http
    sent = {
        "email": "flow.one@example.com",
        "password": PASSWORD,
        "full_name": "John Doe",
        "phone": "+919811100001",
    }

    user = data(http.post("/api/v1/identity/auth/register", json=sent), 201)
    signed_in = data(
        http.post(
            "/api/v1/identity/auth/login", json={"email": sent["email"], "password": PASSWORD}
        )
    )

    assert is_id(user.pop("id"))
    assert is_recent(user.pop("created_at"))
    assert user == {
        "email": sent["email"],
        "phone": sent["phone"],
        "full_name": sent["full_name"],
        "status": "pending",
        "kyc": {"status": "pending"},
    }
    assert signed_in["token"].count(".") == 2
    assert isinstance(signed_in["expires_at"], int)
    assert signed_in["user"]["email"] == sent["email"]
    assert signed_in["user"]["status"] == "pending"


def test_flow_2_opens_a_wallet_and_activates_it(anna: Customer):
    opened = data(anna.post("/wallet/wallets", currency="INR"), 201)
    activated = data(anna.post(f"/wallet/wallets/{opened['id']}/activate"))

    assert is_id(opened["id"])
    assert is_recent(opened["created_at"])
    assert opened["user_id"] == str(anna.id)
    assert opened["currency"] == "INR"
    assert float(opened["balance"]) == 0
    assert opened["status"] == "pending"
    assert activated["id"] == opened["id"]
    assert activated["status"] == "active"


def test_flow_3_deposits(anna: Customer):
    wallet_id = anna.open_wallet()

    done = data(
        anna.post(
            "/transaction/transactions/deposit",
            wallet_id=wallet_id,
            amount="5000.00",
            currency="INR",
            description="Initial deposit",
        ),
        201,
    )

    assert is_id(done.pop("id"))
    assert is_recent(done.pop("created_at"))
    assert done == {
        "type": "deposit",
        "to_wallet_id": wallet_id,
        "amount": "5000.00",
        "currency": "INR",
        "status": "completed",
        "description": "Initial deposit",
    }
    assert anna.balance(wallet_id) == "5000.00"


def test_flow_4_transfers_to_somebody_else(customer: NewCustomer, ben: Customer):
    gita = customer("Gita")
    source, to = gita.open_wallet(funds="5000.00"), ben.open_wallet()

    done = data(
        gita.post(
            "/transaction/transactions/transfer",
            from_wallet_id=source,
            to_wallet_id=to,
            amount="1500.00",
            currency="INR",
            description="Payment for services",
        ),
        201,
    )

    assert is_id(done.pop("id"))
    assert is_recent(done.pop("created_at"))
    assert done == {
        "type": "transfer",
        "from_wallet_id": source,
        "to_wallet_id": to,
        "amount": "1500.00",
        "currency": "INR",
        "status": "completed",
        "description": "Payment for services",
    }
    assert (gita.balance(source), ben.balance(to)) == ("3500.00", "1500.00")


def test_flow_5_withdraws_what_is_there_and_not_more(customer: NewCustomer):
    hari = customer("Hari")
    wallet_id = hari.open_wallet(funds="3000.00")
    sent = {
        "wallet_id": wallet_id,
        "amount": "2000.00",
        "currency": "INR",
        "description": "Cash withdrawal",
    }

    done = data(hari.post("/transaction/transactions/withdrawal", **sent), 201)
    refused = error(hari.post("/transaction/transactions/withdrawal", **sent), 412)

    assert (done["type"], done["from_wallet_id"], done["status"]) == (
        "withdrawal",
        wallet_id,
        "completed",
    )
    assert refused["code"] == "INSUFFICIENT_FUNDS"
    assert refused["message"]
    assert hari.balance(wallet_id) == "1000.00"
    failed = data(hari.get("/transactions", wallet_id=wallet_id, status="failed"))
    assert [kept["failure_code"] for kept in failed] == ["INSUFFICIENT_FUNDS"]


@pytest.mark.parametrize("amount", [12.5, 7, "0.01"])
def test_an_amount_may_be_a_number_or_text_and_is_answered_as_text(anna: Customer, amount: object):
    wallet_id = anna.open_wallet()

    done = data(anna.deposit(wallet_id, amount), 201)

    assert done["amount"] == f"{float(amount):.2f}"
