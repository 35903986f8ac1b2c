"""Holds: money reserved until it is posted in full or in part, voided, or its time is over."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from guilder.kernel.errors import Refusal
from guilder.kernel.ids import TransactionId
from guilder.kernel.money import allocate
from guilder.ledger.api import AmountExceedsOriginal, EntryDraft, HoldEnded, HoldExpired


class HoldState(StrEnum):
    """Where a hold is. It leaves ``pending`` once, to exactly one of the others."""

    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


class Hold(Struct, kw_only=True):
    """A pending transaction: its lines, which balance in one currency, and how it ended."""

    transaction_id: TransactionId
    kind: str
    lines: tuple[EntryDraft, ...]
    expires_at: datetime
    recorded_at: datetime
    digest: bytes
    posted_minor: int = 0
    state: HoldState = HoldState.PENDING
    ended_at: datetime | None = None

    @property
    def amount_minor(self) -> int:
        """What is held: the sum of the debits."""
        return sum(line.amount_minor for line in self.lines if line.amount_minor > 0)

    def part(self, amount_minor: int) -> tuple[EntryDraft, ...]:
        """The lines scaled to ``amount_minor``, each side by largest remainder, still balanced.

        No line becomes larger than it was held; one can become zero.
        """
        return scaled(self.lines, amount_minor)


def scaled(lines: tuple[EntryDraft, ...], amount_minor: int) -> tuple[EntryDraft, ...]:
    """Balanced lines in proportion: debits and credits each sum to ``amount_minor``."""
    amounts = [0] * len(lines)
    for sign in (1, -1):
        side = [index for index, line in enumerate(lines) if line.amount_minor * sign > 0]
        parts = allocate(amount_minor, [abs(lines[index].amount_minor) for index in side])
        for index, part in zip(side, parts, strict=True):
            amounts[index] = sign * part
    return tuple(
        EntryDraft(line.account_id, amount) for line, amount in zip(lines, amounts, strict=True)
    )


def settle_refusal(hold: Hold, amount_minor: int, *, now: datetime) -> Refusal | None:
    """Why a hold may not be posted with this amount at this time, if it may not."""
    ended = end_refusal(hold)
    if ended is not None:
        return ended
    if now >= hold.expires_at:
        return HoldExpired()
    if not 0 < amount_minor <= hold.amount_minor:
        return AmountExceedsOriginal()
    return None


def end_refusal(hold: Hold) -> Refusal | None:
    """Why a hold may not be ended: it has ended before."""
    if hold.state is HoldState.EXPIRED:
        return HoldExpired()
    if hold.state is not HoldState.PENDING:
        return HoldEnded(state=hold.state.value)
    return None
