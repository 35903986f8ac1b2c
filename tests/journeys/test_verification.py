"""Proving oneself: Nivo's flow 6, field by field, and codes that come by mail and SMS."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.journeys.conftest import Guilder, NewCustomer
from tests.journeys.test_first_hour import is_id, is_recent
from tests.support.customer import PASSWORD, Customer, data, error
from tests.support.guilder import Running, environment
from tests.support.waiting import PATIENCE_S

NEW = "NewSecurePass456"
CHANGE = "/identity/auth/password/change"
IDENTITY = "/api/v1/identity"


class Portal:
    """The user-admin portal of a customer: another sign-in with the same name."""

    def __init__(self, anna: Customer, *, password: str = PASSWORD) -> None:
        self.http = anna.http
        signed_in = data(
            self.http.post(
                f"{IDENTITY}/auth/login",
                json={"email": anna.email, "password": password, "account_type": "user_admin"},
            )
        )
        self.headers = {"Authorization": f"Bearer {signed_in['token']}"}
        self.account_type: str = signed_in["user"]["account_type"]

    def pending(self) -> list[dict[str, Any]]:
        answer = self.http.get(f"{IDENTITY}/verifications/pending", headers=self.headers)
        found: list[dict[str, Any]] = data(answer)["verifications"]
        return found


def delivered(anna: Customer, channel: str, pattern: str) -> str:
    """What ``pattern`` finds in the newest message to Anna by this channel, once there is one."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        messages = data(anna.get("/notifications/sandbox-outbox"))
        for message in messages:
            found = re.search(pattern, message["short"])
            if found and message["channel"] == channel:
                return found[1]
        assert time.monotonic() < deadline, [message["short"] for message in messages]


def test_flow_6_changes_the_password(house: Guilder, customer: NewCustomer) -> None:
    anna = customer("Anna")
    wish = {"current_password": PASSWORD, "new_password": NEW}

    first = anna.post(CHANGE, **wish)
    needed = data(first, 202)
    portal = Portal(anna)
    (waiting,) = portal.pending()
    entered = anna.post(f"/identity/verifications/{waiting['id']}/verify", otp=waiting["otp"])
    token = data(entered)["token"]["token"]
    done = data(anna.post(CHANGE, **wish, verification_token=token))

    assert needed["verification_required"] is True
    assert is_id(needed["verification_id"])
    assert needed["message"] == "Please complete OTP verification via User-Admin portal"
    assert portal.account_type == "user_admin"
    assert waiting["id"] == needed["verification_id"]
    assert (waiting["operation_type"], waiting["status"]) == ("password_change", "pending")
    assert re.fullmatch(r"\d{6}", waiting["otp"])
    assert is_recent(waiting["created_at"])
    assert is_recent(waiting["expires_at"])
    assert data(entered)["verified"] is True
    assert done["password_changed"] is True
    again = house.http.post(f"{IDENTITY}/auth/login", json={"email": anna.email, "password": NEW})
    assert data(again)["user"]["id"] == str(anna.id)


def test_flow_6_refuses_wrong_and_late_codes(customer: NewCustomer) -> None:
    anna = customer("Anna")
    needed = data(anna.post(CHANGE, current_password=PASSWORD, new_password=NEW), 202)
    verify = f"/identity/verifications/{needed['verification_id']}/verify"
    (waiting,) = Portal(anna).pending()
    wrong = f"{(int(waiting['otp']) + 1) % 1_000_000:06}"

    refusals = [error(anna.post(verify, otp=wrong), 400) for _ in range(5)]
    late = error(anna.post(verify, otp=waiting["otp"]), 410)

    assert {refusal["code"] for refusal in refusals} == {"INVALID_OTP"}
    assert late["code"] == "VERIFICATION_EXPIRED"


def test_flow_6_allows_a_high_transfer_once(tmp_path: Path) -> None:
    env = environment(tmp_path, RATE_LIMIT="off", HIGH_VALUE_TRANSFERS="INR 5000")
    with Running("up", env=env, folder=tmp_path) as up:
        with httpx2.Client(base_url=up.address(), trust_env=False, timeout=30) as http:
            anna, ben = Customer(http, "Anna"), Customer(http, "Ben")
            source, to = anna.open_wallet(funds="9000.00"), ben.open_wallet()
            needed = data(anna.transfer(source, to, "5000.01", key="rent"), 202)
            (waiting,) = Portal(anna).pending()
            entered = anna.post(f"/verifications/{waiting['id']}/verify", otp=waiting["otp"])
            token = data(entered)["token"]["token"]
            made = anna.transfer(source, to, "5000.01", key="rent", verification_token=token)
            repeated = anna.transfer(source, to, "5000.01", key="rent")
            again = anna.transfer(source, to, "5000.01", verification_token=token)
            received = ben.balance(to)
        assert up.interrupt() == 0

    assert waiting["id"] == needed["verification_id"]
    assert waiting["operation_type"] == "high_value_transfer"
    assert waiting["details"]["amount"] == "5000.01"
    assert data(made, 201)["id"] == data(repeated, 201)["id"]
    assert repeated.headers["idempotency-replayed"] == "true"
    assert error(again, 403)["code"] == "INVALID_VERIFICATION_TOKEN"
    assert received == "5000.01"


def test_flow_6_asks_before_50000_rupees_leave(customer: NewCustomer) -> None:
    anna, ben = customer("Anna"), customer("Ben")
    source, to = anna.open_wallet(), ben.open_wallet()

    asked = anna.transfer(source, to, "50000.01")
    at_the_limit = anna.transfer(source, to, "50000.00")

    assert data(asked, 202)["verification_required"] is True
    assert error(at_the_limit, 412)["code"] == "LIMIT_EXCEEDED"


@pytest.mark.parametrize(("name", "channel"), [("phone", "sms"), ("email", "email")])
def test_code_that_was_delivered_signs_in(
    name: str, channel: str, house: Guilder, customer: NewCustomer
) -> None:
    anna = customer("Anna")
    named = {name: getattr(anna, name)}

    data(house.http.post("/api/v1/auth/otp/request", json=named), 202)
    code = delivered(anna, channel, r"^(\d{6}) is your code to sign in")
    answer = house.http.post("/api/v1/auth/otp/verify", json={**named, "otp": code})

    assert data(answer)["user"]["id"] == str(anna.id)


def test_token_that_was_mailed_resets_a_forgotten_password(
    house: Guilder, customer: NewCustomer
) -> None:
    anna = customer("Anna")

    data(house.http.post("/api/v1/auth/forgot", json={"email": anna.email}), 202)
    token = delivered(anna, "email", r"^(rst_\S+) lets you set a new password")
    reset = {"token": token, "new_password": NEW}
    done = house.http.post("/api/v1/auth/reset", json=reset)

    assert data(done)["password_changed"] is True
    assert error(anna.get("/auth/me"), 401)["code"] == "UNAUTHORIZED"
    login = {"email": anna.email, "password": NEW}
    assert data(house.http.post("/api/v1/auth/login", json=login))["user"]["id"] == str(anna.id)


def test_addresses_are_proved_with_the_codes_sent_to_them(customer: NewCustomer) -> None:
    anna = customer("Anna")

    for contact, channel in (("email", "email"), ("phone", "sms")):
        data(anna.post("/auth/verify", contact=contact), 202)
        code = delivered(anna, channel, r"^(\d{6}) is your code to confirm this address")
        standing = data(anna.post("/auth/verify", contact=contact, otp=code))
        assert is_recent(standing[f"{contact}_verified_at"])

    assert data(anna.get("/auth/me"))["status"] == "active"
