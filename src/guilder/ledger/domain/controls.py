"""Controls: how much of a limit is used, in windows that roll over in the owner's time zone."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.ids import AccountId, ControlId, UserId
from guilder.kernel.money import format_minor
from guilder.ledger.api import Account, ControlLimits, Direction, LimitExceeded

_OUTFLOW, _INFLOW = Direction.OUTFLOW, Direction.INFLOW


class Control(Struct, kw_only=True):
    """A control as it stands inside a book.

    The used sums are those of the day and month, where the owner lives, that ``used_at`` lies in:
    the last time that something was counted or given back.
    """

    id: ControlId
    subject_id: UserId | AccountId
    currency: Currency
    direction: Direction
    limits: ControlLimits
    time_zone: str
    created_at: datetime
    used_at: datetime
    kinds: frozenset[str] | None = None
    day_used_minor: int = 0
    month_used_minor: int = 0
    is_changed: bool = False

    def covers(self, kind: str) -> bool:
        """Whether transactions of this kind count."""
        return self.kinds is None or kind in self.kinds

    def roll(self, now: datetime) -> None:
        """Begin the windows that ``now`` lies in, which is never before ``used_at``."""
        if now == self.used_at:
            return
        day_began_at, month_began_at = window_starts(now, self.time_zone)
        if self.used_at < day_began_at:
            self.day_used_minor = 0
        if self.used_at < month_began_at:
            self.month_used_minor = 0
        self.used_at = now
        self.is_changed = True

    def refusal(self, amount_minor: int) -> LimitExceeded | None:
        """Why ``amount_minor`` more may not pass in the current windows, if it may not."""
        limits = self.limits
        for window, limit, used in (
            ("transaction", limits.per_transaction_minor, 0),
            ("day", limits.per_day_minor, self.day_used_minor),
            ("month", limits.per_month_minor, self.month_used_minor),
        ):
            if limit is not None and used + amount_minor > limit:
                return LimitExceeded(
                    f"The limit per {window} would be exceeded.",
                    subject_id=self.subject_id,
                    window=window,
                    limit=format_minor(limit, self.currency),
                    available=format_minor(max(0, limit - used), self.currency),
                )
        return None

    def use(self, amount_minor: int) -> None:
        """Count an amount in the current windows."""
        self.day_used_minor += amount_minor
        self.month_used_minor += amount_minor
        self.is_changed = True

    def give_back(self, amount_minor: int, *, used_at: datetime) -> None:
        """Return what was counted then to those of its windows that are still open.

        What happened before the control existed was never counted.
        """
        if used_at < self.created_at:
            return
        then, day = local_date(used_at, self.time_zone), local_date(self.used_at, self.time_zone)
        if then == day:
            self.day_used_minor -= amount_minor
        if (then.year, then.month) == (day.year, day.month):
            self.month_used_minor -= amount_minor
        self.is_changed = True


Flow: TypeAlias = tuple[Account, int]
"""An account and what crosses it, seen from its owner: positive comes in, negative goes out."""
Charge: TypeAlias = tuple[Control, int]
"""A control and how much of it one transaction uses."""


def direction_of(flow: int) -> Direction:
    """Which way money crosses an account."""
    return _OUTFLOW if flow < 0 else _INFLOW


class Controls:
    """All controls of a book, found by the account or owner they are set on."""

    def __init__(self, controls: Iterable[Control], *, now: datetime) -> None:
        self._now = now
        self._by_subject: dict[UUID, list[Control]] = {}
        for control in controls:
            self._by_subject.setdefault(control.subject_id, []).append(control)

    @property
    def changed(self) -> list[Control]:
        """Controls whose use or windows changed."""
        return [c for group in self._by_subject.values() for c in group if c.is_changed]

    def charges(self, kind: str, flows: Iterable[Flow]) -> list[Charge]:
        """What a transaction of this kind uses of which controls, their windows brought to now."""
        by_subject = self._by_subject
        if not by_subject:
            return []
        charged: dict[UUID, Charge] = {}
        for account, flow in flows:
            direction = direction_of(flow)
            owned = () if account.owner_id is None else by_subject.get(account.owner_id, ())
            for control in (*by_subject.get(account.id, ()), *owned):
                if (
                    control.direction is direction
                    and control.currency is account.currency
                    and control.covers(kind)
                ):
                    control.roll(self._now)
                    before = charged[control.id][1] if control.id in charged else 0
                    charged[control.id] = control, before + abs(flow)
        return list(charged.values())

    def give_back(self, kind: str, flows: Iterable[Flow], *, used_at: datetime) -> None:
        """Return what these flows used when they were recorded at ``used_at``."""
        for control, amount_minor in self.charges(kind, flows):
            control.give_back(amount_minor, used_at=used_at)

    def copies(self, accounts: Iterable[Account]) -> dict[UUID, list[Control]]:
        """Copies of the controls on these accounts and their owners, for `restore`."""
        if not self._by_subject:
            return {}
        subjects = {subject for a in accounts for subject in (a.id, a.owner_id)}
        return {
            subject: [copy(control) for control in self._by_subject[subject]]
            for subject in subjects
            if subject is not None and subject in self._by_subject
        }

    def restore(self, copies: dict[UUID, list[Control]]) -> None:
        """Forget what was counted since the copies were made."""
        self._by_subject.update(copies)


def local_date(moment: datetime, time_zone: str) -> date:
    """The calendar day of a moment where the owner lives."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


# Everything in a batch happens at one moment, and most owners live in one time zone.
@lru_cache(maxsize=64)
def window_starts(moment: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """When the day and the month of a moment began where the owner lives, in UTC.

    Where clocks skip midnight, the day begins at the moment they do; where they show it twice, at
    the first.
    """
    day = local_date(moment, time_zone)
    zone = ZoneInfo(time_zone)
    starts = [datetime.combine(d, time(), zone).astimezone(UTC) for d in (day, day.replace(day=1))]
    return starts[0], starts[1]
