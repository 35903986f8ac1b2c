"""The promises of the money core, kept on paper: what has to happen, and why something may not.

It shares no decision with what it judges. An allowance is a sum over a list of what moved when; a
refusal is right when it names one of the reasons there are, and wrong where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from guilder.kernel.currencies import Currency
from guilder.kernel.ids import UserId, WalletId
from guilder.payments.api import Outcome, PaymentOrder, PaymentStatus

SINGLE_MINOR: Final = 5_000
DAY_MINOR: Final = 8_000
MONTH_MINOR: Final = 20_000
_KEY_LIVES: Final = timedelta(hours=24)
_FUNDING: Final = frozenset({"deposit", "topup"})
_SHUT: Final = {
    "pending": {"ACCOUNT_FROZEN", "WALLET_NOT_ACTIVE"},
    "frozen": {"ACCOUNT_FROZEN"},
    "closed": {"ACCOUNT_CLOSED"},
}

Line: TypeAlias = tuple[WalletId | None, int]
"""A wallet, or the world outside, and what it gets (positive) or gives (negative)."""
Reasons: TypeAlias = set[str]


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(slots=True, kw_only=True)
class Purse:
    owner_id: UserId
    currency: Currency
    status: str = "active"
    balance: int = 0
    leaving: int = 0
    coming: int = 0

    @property
    def available(self) -> int:
        return self.balance - self.leaving


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    owner_id: UserId
    currency: Currency
    is_out: bool


@dataclass(slots=True, kw_only=True)
class Moved:
    """Money that moved or is held. ``left``: what of it no reversal has undone."""

    kind: str
    lines: Sequence[Line]
    at: datetime
    amount: int
    left: int = 0
    until: datetime | None = None
    state: str = "posted"

    def share(self, amount: int) -> list[Line]:
        """Its lines as if they were of this amount: it has one that gives and one that gets."""
        return [(wallet, amount if whole > 0 else -amount) for wallet, whole in self.lines]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    order: PaymentOrder
    payment_id: UUID
    code: str | None
    at: datetime


@dataclass(slots=True, kw_only=True)
class Paper:
    """What is true of every wallet at ``now``, which is where the owners live.

    ``seen`` names what had to happen so far, whether or not it did.
    """

    now: datetime
    purses: dict[WalletId, Purse] = field(default_factory=dict)
    moved: dict[UUID, Moved] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    _uses: list[tuple[Allowance, datetime, int]] = field(default_factory=list)
    _told: dict[tuple[UserId, str], _Told] = field(default_factory=dict)

    def judge(self, what: str, code: str | None, reasons: Reasons) -> bool:
        """Whether it was done; `Broken` unless it is done or refused as it has to be."""
        self.seen.add(f"{what} {min(reasons, default='done')}")
        if (code not in reasons) if reasons or code else False:
            wanted = " or ".join(sorted(reasons)) or "done"
            raise Broken(f"{what}: it has to be {wanted} and is {code or 'done'}")
        return code is None

    def require(self, promise: str, *, is_kept: bool) -> None:
        if not is_kept:
            raise Broken(promise)

    def pay(self, order: PaymentOrder, outcome: Outcome) -> None:
        """Hold an answer against what was told before, and against what may happen now."""
        code = None if outcome.refusal is None else outcome.refusal.code
        known = self._told.get((order.caller_id, order.key))
        if known is not None and self.now - known.at < _KEY_LIVES:
            self._repeated(known, order, outcome, code=code)
            return
        kind = order.type.value
        unfit = self._unfit(order)
        reasons = unfit or self.reasons(kind, lines_of(order))
        is_done = self.judge(kind, code, reasons)
        self.require("an answer to a new key is no replay", is_kept=not outcome.is_replay)
        if unfit:
            self.require("what is unfit leaves no trace", is_kept=outcome.payment is None)
            return
        assert outcome.payment is not None
        status = PaymentStatus.COMPLETED if is_done else PaymentStatus.FAILED
        self.require("a payment says what it is", is_kept=outcome.payment.status is status)
        told = _Told(order=order, payment_id=outcome.payment.id, code=code, at=self.now)
        self._told[order.caller_id, order.key] = told
        if is_done:
            self.move(outcome.payment.id, kind, lines_of(order))

    def _repeated(
        self, known: _Told, order: PaymentOrder, outcome: Outcome, *, code: str | None
    ) -> None:
        if _contents(order) != _contents(known.order):
            self.judge("a key with other contents", code, {"IDEMPOTENCY_KEY_REUSED"})
            return
        self.judge("a repetition", code, set() if known.code is None else {known.code})
        is_same = outcome.payment is not None and outcome.payment.id == known.payment_id
        self.require("a repetition is answered as before", is_kept=is_same and outcome.is_replay)

    def _unfit(self, order: PaymentOrder) -> Reasons:
        begins_at = order.from_wallet_id or order.to_wallet_id
        assert begins_at is not None
        if self.purses[begins_at].owner_id != order.caller_id:
            return {"NOT_FOUND"}
        named = [self.purses[w] for w in (order.from_wallet_id, order.to_wallet_id) if w]
        differs = any(purse.currency.code != order.currency.code for purse in named)
        return {"VALIDATION_ERROR"} if differs else set()

    def reasons(self, kind: str, lines: Iterable[Line], *, is_limited: bool = True) -> Reasons:
        """Every reason for which these lines may not be posted or held now."""
        lines = list(lines)
        found: Reasons = set()
        for purse, amount in self._on_paper(lines):
            found |= _SHUT.get(purse.status, set())
            if purse.available + amount < 0 and amount < 0:
                found.add("INSUFFICIENT_FUNDS")
        for allowance, amount in self._crossing(kind, lines).items():
            if is_limited and amount > self.left(allowance):
                found.add("LIMIT_EXCEEDED")
        return found

    def left(self, allowance: Allowance) -> int:
        """How much may be moved at once now."""
        used = [(at, amount) for of, at, amount in self._uses if of == allowance]
        day = sum(amount for at, amount in used if at.date() == self.now.date())
        this_month = (self.now.year, self.now.month)
        month = sum(amount for at, amount in used if (at.year, at.month) == this_month)
        return min(SINGLE_MINOR, DAY_MINOR - day, MONTH_MINOR - month)

    def move(
        self, id_: UUID, kind: str, lines: Sequence[Line], *, until: datetime | None = None
    ) -> None:
        """Post lines, or hold them ``until`` then; what they use of allowances is used."""
        amount = sum(amount for _, amount in lines if amount > 0)
        made = Moved(kind=kind, lines=lines, at=self.now, amount=amount)
        self.moved[id_] = made
        self._use(made, amount)
        if until is None:
            made.left = amount
            self._add(lines)
        else:
            made.until, made.state = until, "pending"
            self._hold(made, sign=1)

    def end(self, id_: UUID, state: str, *, amount: int = 0) -> None:
        """End a hold: ``amount`` of it is posted, and the rest was never used."""
        made = self.moved[id_]
        self._hold(made, sign=-1)
        self._add(made.share(amount))
        self._use(made, amount - made.amount)
        made.amount, made.left, made.state = amount, amount, state

    def settling(self, id_: UUID, amount: int) -> Reasons:
        """Why a hold may not be posted with this amount."""
        made = self.moved[id_]
        assert made.until is not None
        ended = {"voided": "HOLD_ENDED", "posted": "HOLD_ENDED", "expired": "HOLD_EXPIRED"}
        if made.state in ended:
            is_same = made.state == "posted" and made.amount == amount
            return set() if is_same else {ended[made.state]}
        found = {"HOLD_EXPIRED"} if self.now >= made.until else set()
        if amount > made.amount:
            found.add("AMOUNT_EXCEEDS_ORIGINAL")
        for purse, _ in self._on_paper(made.lines):
            found |= _SHUT.get(purse.status, set())
        return found

    def due(self) -> list[UUID]:
        """Open holds whose time is over."""
        return [
            id_
            for id_, made in self.moved.items()
            if made.state == "pending" and made.until is not None and made.until <= self.now
        ]

    def undoing(self, id_: UUID, amount: int) -> Reasons:
        """Why this much of what moved may not be reversed."""
        made = self.moved[id_]
        if amount > made.left:
            return {"AMOUNT_EXCEEDS_ORIGINAL"}
        return self.reasons("reversal", made.share(-amount), is_limited=False)

    def undo(self, id_: UUID, amount: int) -> None:
        """Reverse a part; it was never used of the allowances of its time."""
        made = self.moved[id_]
        self._add(made.share(-amount))
        self._use(made, -amount)
        made.left -= amount

    def copied(self) -> Paper:
        """Another paper, to try something on."""
        return Paper(
            now=self.now,
            purses={id_: copy(purse) for id_, purse in self.purses.items()},
            moved={id_: copy(made) for id_, made in self.moved.items()},
            seen=self.seen,
            _uses=list(self._uses),
            _told=dict(self._told),
        )

    def _use(self, made: Moved, amount: int) -> None:
        self._uses += [
            (allowance, made.at, amount) for allowance in self._crossing(made.kind, made.lines)
        ]

    def _crossing(self, kind: str, lines: Iterable[Line]) -> dict[Allowance, int]:
        crossing: dict[Allowance, int] = {}
        for purse, amount in self._on_paper(lines):
            if amount < 0 or kind in _FUNDING:
                key = Allowance(owner_id=purse.owner_id, currency=purse.currency, is_out=amount < 0)
                crossing[key] = crossing.get(key, 0) + abs(amount)
        return crossing

    def _add(self, lines: Iterable[Line]) -> None:
        for purse, amount in self._on_paper(lines):
            purse.balance += amount

    def _hold(self, made: Moved, *, sign: int) -> None:
        for purse, amount in self._on_paper(made.lines):
            if amount < 0:
                purse.leaving -= sign * amount
            else:
                purse.coming += sign * amount

    def _on_paper(self, lines: Iterable[Line]) -> list[tuple[Purse, int]]:
        return [(self.purses[wallet], amount) for wallet, amount in lines if wallet is not None]


def lines_of(order: PaymentOrder) -> list[Line]:
    """What an order moves."""
    return [(order.from_wallet_id, -order.amount_minor), (order.to_wallet_id, order.amount_minor)]


def _contents(order: PaymentOrder) -> tuple[object, ...]:
    wallets = order.from_wallet_id, order.to_wallet_id
    return order.type, *wallets, order.amount_minor, order.currency.code, order.description
