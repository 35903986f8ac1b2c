"""Spends the tokens of verifications, inside the transactions of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from guilder.identity.api.verifications import (
    InvalidVerificationToken,
    Spending,
    VerificationExpired,
)
from guilder.identity.domain.verifications import Status
from guilder.identity.store import verifications as store
from guilder.kernel.errors import Refusal
from guilder.platform.db import Tx


class SpentInTransactions:
    """The `guilder.identity.api.verifications.VerificationTokens` of the one database."""

    async def spend(self, tx: Tx, spendings: Sequence[Spending]) -> Mapping[UUID, Refusal | None]:
        """Spend tokens, and answer for each attempt why it may not go on; None: it may.

        Of several attempts with one token the first is meant. An attempt that spent its token
        before, in a transaction whose answer was lost, may go on.
        """
        first: dict[bytes, Spending] = {}
        for spending in spendings:
            first.setdefault(spending.token, spending)
        spent = await store.spend(tx, list(first.values()))
        missed = [one.token for one in first.values() if one.used_by not in spent]
        over = await store.ends(tx, missed) if missed else {}
        verdicts: dict[UUID, Refusal | None] = {}
        for spending in spendings:
            verdict: Refusal | None = InvalidVerificationToken()
            if spending.used_by in spent:
                verdict = None if spent[spending.used_by] else VerificationExpired()
            elif over.get(spending.token) == (spending.account_id, Status.EXPIRED):
                verdict = VerificationExpired()
            verdicts[spending.used_by] = verdict
        return verdicts

    async def give_back(self, tx: Tx, attempts: Sequence[UUID]) -> None:
        """Let tokens be spent later that were spent in this transaction for nothing."""
        await store.give_back(tx, attempts)
