"""SMS by an HTTP provider that speaks as Twilio does."""

from __future__ import annotations

from typing import Final

import httpx2

from guilder.notifications.api import Message, NotDelivered, Undeliverable

_TIMEOUT_S: Final = 10.0
_OUR_FAULT: Final = frozenset({401, 403, 408, 429})
"""Statuses that say nothing about the message: who we are, and how fast we ask."""


class HttpSms:
    """Sends texts from ``sender`` (a number or name); the URL holds the account and its token."""

    def __init__(self, url: str, *, sender: str) -> None:
        parsed = httpx2.URL(url)
        self._account = parsed.username
        self._sender = sender
        self._http = httpx2.AsyncClient(
            base_url=parsed.copy_with(username=None, password=None),
            auth=(parsed.username, parsed.password),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def send(self, message: Message) -> str:
        """Hand a text to the provider, with the delivery's id as its idempotency key.

        Raises:
            NotDelivered: it cannot be reached, is busy, or does not know us.
            Undeliverable: it refuses this message or this number.
        """
        try:
            answer = await self._http.post(
                f"2010-04-01/Accounts/{self._account}/Messages.json",
                data={"To": message.to, "From": self._sender, "Body": message.short},
                headers={"Idempotency-Key": str(message.id)},
            )
        except httpx2.HTTPError as error:
            raise NotDelivered(type(error).__name__) from error
        status = answer.status_code
        if status in _OUR_FAULT or status >= 500 or 300 <= status < 400:
            raise NotDelivered(f"http_{status}")
        if status >= 400:
            raise Undeliverable(f"http_{status}")
        return _name(answer)

    async def close(self) -> None:
        """Close connections to the provider."""
        await self._http.aclose()


def _name(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["sid"])
    except (ValueError, LookupError, TypeError):
        return ""
