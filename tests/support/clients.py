"""Clients that transfer over HTTP through crashes and remember what was acknowledged to them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2

from guilder.platform.identifiers import new_id

PATIENCE_S = 60.0
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Somebody with a token, the wallet they pay from, and the one they pay into."""

    token: str
    source: str
    to: str


@dataclass(slots=True, kw_only=True)
class Clients:
    """What clients were told. ``acknowledged`` holds the payment's id by its key."""

    payers: Sequence[Payer]
    acknowledged: dict[str, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    _stopped: bool = False
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(self, address: str) -> None:
        """Every payer sends one transfer after the other until `stop`, each until acknowledged."""
        async with httpx2.AsyncClient(base_url=address, trust_env=False, timeout=30) as http:
            await asyncio.gather(*(self._payer(http, payer) for payer in self.payers))

    def stop(self) -> None:
        """What is being sent is sent until it is acknowledged; nothing new is."""
        self._stopped = True

    async def hear(self, more: int) -> None:
        """Return once so many more transfers were acknowledged than there are now."""
        enough = len(self.acknowledged) + more
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.acknowledged) >= enough)

    async def _payer(self, http: httpx2.AsyncClient, payer: Payer) -> None:
        while not self._stopped:
            key = new_id().hex
            deadline = time.monotonic() + PATIENCE_S
            while (payment_id := await self._transfer(http, payer, key)) is None:
                assert time.monotonic() < deadline, "it does not come back"
                await asyncio.sleep(_PAUSE_S)
            async with self._heard:
                self.acknowledged[key] = payment_id
                self._heard.notify_all()

    async def _transfer(self, http: httpx2.AsyncClient, payer: Payer, key: str) -> str | None:
        body = {
            "from_wallet_id": payer.source,
            "to_wallet_id": payer.to,
            "amount": "0.01",
            "currency": "INR",
        }
        headers = {"Authorization": f"Bearer {payer.token}", "Idempotency-Key": key}
        try:
            answer = await http.post("/api/v1/transactions/transfer", json=body, headers=headers)
        except httpx2.TransportError:
            self.unanswered += 1
            return None
        self.statuses[answer.status_code] += 1
        if answer.status_code != 201:
            return None
        payment_id: str = answer.json()["data"]["id"]
        return payment_id
