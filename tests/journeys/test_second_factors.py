"""Anna protects her account: an app, a passkey, recovery codes for bad days; and she is told."""

from __future__ import annotations

import asyncio
from base64 import b32decode
from datetime import UTC, datetime
from typing import Any

import httpx2

from guilder.identity.domain import totp
from tests.journeys.conftest import NewCustomer
from tests.support.authenticator import Authenticator
from tests.support.customer import PASSWORD, Customer, data, error
from tests.support.waiting import until

# Guilder is started on any free port here, and takes what it was told for the origin's port.
ORIGIN = "http://localhost:0"


def code_of(secret: str) -> str:
    return totp.code(b32decode(secret), step=totp.step_of(datetime.now(UTC)))


def sign_in(customer: Customer, **more: object) -> httpx2.Response:
    body = {"email": customer.email, "password": PASSWORD, **more}
    return customer.http.post("/api/v1/auth/login", json=body)


def complete(customer: Customer, challenge: dict[str, Any], **proof: object) -> httpx2.Response:
    body = {"challenge": challenge["challenge"], **proof}
    return customer.http.post("/api/v1/identity/auth/mfa/verify", json=body)


def told(customer: Customer, *changes: str) -> list[dict[str, Any]]:
    """What a customer's feed says of how they sign in, once it says all of these."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        items = data(customer.get("/notifications"))
        found[:] = [item for item in items if item["type"] == "second_factor_changed"]
        return {item["data"]["change"] for item in found} >= set(changes)

    asyncio.run(until(there, f"{customer.email} is told of {changes}"))
    return found


def enrolled(customer: Customer) -> list[str]:
    """Recovery codes of a customer who has an authenticator app now."""
    secret = data(customer.post("/identity/auth/mfa/totp/enroll"))["secret"]
    done = data(customer.post("/auth/mfa/totp/confirm", otp=code_of(secret)))
    codes: list[str] = done["recovery_codes"]
    return codes


def test_with_an_app_the_password_is_not_enough(customer: NewCustomer) -> None:
    anna = customer("Anna")
    recovery_code, *_ = enrolled(anna)

    challenge = data(sign_in(anna), 202)
    wrong = error(complete(anna, challenge, otp="aaaa aaaa aaaa aaaa"), 400)
    login = data(complete(anna, challenge, otp=recovery_code))

    assert challenge["factors"] == ["totp", "recovery_code"]
    assert wrong["code"] == "INVALID_OTP"
    assert login["user"]["id"] == str(anna.id)
    assert login["refresh_token"]
    anna.token = login["token"]
    assert data(anna.get("/auth/mfa"))["recovery_codes_left"] == 9


def test_a_passkey_signs_in_alone_and_steps_up(customer: NewCustomer) -> None:
    anna = customer("Anna")
    phone = Authenticator(is_synced=True).behaving(origin=ORIGIN)
    options = data(anna.post("/auth/passkeys/register/options"))
    added = data(
        anna.post("/auth/passkeys/register/verify", credential=phone.create(options), name="Phone"),
        201,
    )

    asked = data(anna.http.post("/api/v1/auth/passkeys/login/options"))
    body = {"credential": phone.get(asked)}
    login = data(anna.http.post("/api/v1/auth/passkeys/login/verify", json=body))
    anna.token = login["token"]
    early = anna.http.delete(f"/api/v1/auth/passkeys/{added['id']}", headers=anna.authorization)
    credential = phone.get(data(anna.post("/auth/step-up/options")))
    data(anna.post("/auth/step-up", passkey=credential))
    removed = anna.http.delete(f"/api/v1/auth/passkeys/{added['id']}", headers=anna.authorization)

    assert error(early, 403)["code"] == "STEP_UP_REQUIRED"
    assert data(removed)["removed"] is True
    assert data(sign_in(anna))["token"]


def test_she_is_told_of_every_change_in_her_feed_and_by_mail(customer: NewCustomer) -> None:
    anna = customer("Anna")
    recovery_code, *_ = enrolled(anna)
    data(sign_in(anna, otp=recovery_code))

    items = told(anna, "totp_added", "recovery_code_used")

    assert {item["title"] for item in items} == {"How you sign in was changed"}
    mails = [mail["text"] for mail in data(anna.get("/notifications/sandbox-outbox"))]
    assert not [text for text in mails if recovery_code in text]
