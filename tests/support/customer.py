"""A person with an account at a running Guilder, and what they do there over HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from itertools import count
from typing import Any, Final
from uuid import UUID

import httpx2

from tests.support.waiting import PATIENCE_S

PASSWORD: Final = "SecurePass123"
_CODE: Final = r"(\d{6}) is your code to confirm this address"
_NUMBERS: Final = count(int(time.time() * 1000) % 100_000_000 * 10)
"""Phone numbers that nobody has; tests share a Guilder and never a person."""


class Customer:
    """Signed up and signed in. ``http`` may be shared: each request sends the person's token."""

    def __init__(self, http: httpx2.Client, name: str) -> None:
        number = next(_NUMBERS)
        self.email = f"{name.lower()}.{number}@example.com"
        self.phone = f"+91{7_000_000_000 + number % 1_000_000_000}"
        self.http = http
        self.id: UUID = UUID(
            data(
                self.http.post(
                    "/api/v1/auth/register",
                    json={
                        "email": self.email,
                        "password": PASSWORD,
                        "full_name": f"{name} Rao",
                        "phone": self.phone,
                    },
                ),
                201,
            )["id"]
        )
        self.token = ""
        self.sign_in()

    def prove_email(self) -> None:
        """Enter the code that comes to one's mailbox."""
        data(self.post("/auth/verify", contact="email"), 202)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for mail in data(self.get("/notifications/sandbox-outbox")):
                if found := re.match(_CODE, mail["short"]):
                    data(self.post("/auth/verify", contact="email", otp=found[1]))
                    return
            assert time.monotonic() < deadline

    def sign_in(self) -> None:
        """Have a token of a new session."""
        named = {"email": self.email, "password": PASSWORD}
        self.token = data(self.http.post("/api/v1/auth/login", json=named))["token"]

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def open_wallet(self, *, funds: str | None = None, currency: str = "INR") -> str:
        """The id of a wallet of theirs: activated, with money deposited."""
        wallet_id: str = data(self.post("/wallets", currency=currency), 201)["id"]
        data(self.post(f"/wallets/{wallet_id}/activate"))
        if funds is not None:
            data(self.deposit(wallet_id, funds, currency=currency), 201)
        return wallet_id

    def post(
        self, path: str, *, headers: Mapping[str, str] | None = None, **body: object
    ) -> httpx2.Response:
        return self.http.post(
            f"/api/v1{path}", json=body or None, headers={**self.authorization, **(headers or {})}
        )

    def get(self, path: str, **query: Any) -> httpx2.Response:
        return self.http.get(f"/api/v1{path}", params=query or None, headers=self.authorization)

    def deposit(self, wallet_id: str, amount: object, **more: Any) -> httpx2.Response:
        return self._pay("deposit", wallet_id=wallet_id, amount=amount, **more)

    def withdraw(self, wallet_id: str, amount: object, **more: Any) -> httpx2.Response:
        return self._pay("withdrawal", wallet_id=wallet_id, amount=amount, **more)

    def transfer(self, source: str, to: str, amount: object, **more: Any) -> httpx2.Response:
        return self._pay("transfer", from_wallet_id=source, to_wallet_id=to, amount=amount, **more)

    def balance(self, wallet_id: str) -> str:
        balance: str = data(self.get(f"/wallets/{wallet_id}/balance"))["balance"]
        return balance

    def _pay(self, kind: str, *, key: str | None = None, **body: object) -> httpx2.Response:
        headers = None if key is None else {"Idempotency-Key": key}
        return self.post(f"/transactions/{kind}", headers=headers, **{"currency": "INR", **body})


def data(answer: httpx2.Response, status: int = 200) -> Any:
    """What a good answer carries."""
    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is True
    return answer.json()["data"]


def error(answer: httpx2.Response, status: int) -> Any:
    """What a refusal says."""
    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is False
    return answer.json()["error"]
