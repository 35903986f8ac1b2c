"""Controls: how much of a limit is used, in windows that roll over in the owner's time zone."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

from guilder.kernel.currencies import Currency
from guilder.kernel.ids import AccountId, ControlId, UserId
from guilder.kernel.money import format_minor
from guilder.ledger.api import ControlLimits, Direction, LimitExceeded


class Control(Struct, kw_only=True):
    """A control as it stands inside a book. Used sums belong to ``day`` and its month."""

    id: ControlId
    subject_id: UserId | AccountId
    currency: Currency
    direction: Direction
    limits: ControlLimits
    time_zone: str
    created_at: datetime
    kinds: frozenset[str] | None = None
    day: date = date.min
    day_used_minor: int = 0
    month_used_minor: int = 0
    is_changed: bool = False

    def covers(self, kind: str) -> bool:
        """Whether transactions of this kind count."""
        return self.kinds is None or kind in self.kinds

    def roll(self, today: date) -> None:
        """Begin the windows that ``today`` lies in; a clock that goes back does not reopen one."""
        if today <= self.day:
            return
        if (today.year, today.month) != (self.day.year, self.day.month):
            self.month_used_minor = 0
        self.day, self.day_used_minor = today, 0
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

    def give_back(self, amount_minor: int, *, used_at: datetime, used_on: date) -> None:
        """Return what was counted then to those of its windows that are still open.

        What happened before the control existed was never counted.
        """
        if used_at < self.created_at:
            return
        if used_on == self.day:
            self.day_used_minor -= amount_minor
            self.is_changed = True
        if (used_on.year, used_on.month) == (self.day.year, self.day.month):
            self.month_used_minor -= amount_minor
            self.is_changed = True


def local_date(moment: datetime, time_zone: str) -> date:
    """The calendar day of a moment where the owner lives."""
    return moment.astimezone(ZoneInfo(time_zone)).date()
