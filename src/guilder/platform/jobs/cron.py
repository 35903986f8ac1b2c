"""Times by the rules of cron, on the clocks of a place: five fields, and what summer time does.

A time that a clock skips is taken when the clock has been put forward; one that it shows twice is
taken the first time. Rules for every hour follow real time and do neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_PART: Final = re.compile(
    r"(\*|(?P<first>[0-9]{1,4})(-(?P<last>[0-9]{1,4}))?)(/(?P<step>[0-9]{1,4}))?"
)
_LONGEST_DAYS: Final = 366 * 8
"""The 29th of February is at most eight years away."""


class WrongCron(ValueError):
    """A rule cannot be read, or names a time that never comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """When something is due: ``minute hour day-of-month month day-of-week``, as ``30 3 * * 1-5``.

    Where both days are restricted, either is enough. Sunday is 0 and 7.
    """

    rule: str
    time_zone: str

    def __post_init__(self) -> None:
        self.next_after(datetime(2000, 1, 1, tzinfo=UTC))

    def next_after(self, moment: datetime) -> datetime:
        """The first time later than ``moment``.

        Raises:
            WrongCron: the rule cannot be read, or there is no such time.
        """
        minutes, hours, days, months, weekdays = _read(self.rule)
        _, _, day_rule, _, weekday_rule = self.rule.split()
        is_either = day_rule != "*" and weekday_rule != "*"
        zone = ZoneInfo(self.time_zone)
        today = moment.astimezone(zone).date()
        for ahead in range(_LONGEST_DAYS):
            day = today + timedelta(days=ahead)
            in_days, in_weekdays = day.day in days, day.isoweekday() % 7 in weekdays
            fits = (in_days or in_weekdays) if is_either else (in_days and in_weekdays)
            if day.month in months and fits:
                moments = _moments(day, hours=hours, minutes=minutes, zone=zone)
                later = [at for at in moments if at > moment]
                if later:
                    return min(later)
        raise WrongCron(f"{self.rule!r} never comes")


def _moments(
    day: date, *, hours: frozenset[int], minutes: frozenset[int], zone: ZoneInfo
) -> Iterator[datetime]:
    folds = (0, 1) if len(hours) == 24 else (0,)
    for hour in hours:
        for minute in minutes:
            for fold in folds:
                shown = datetime.combine(day, time(hour, minute, fold=fold), tzinfo=zone)
                yield shown.astimezone(UTC)


def _read(rule: str) -> tuple[frozenset[int], ...]:
    fields = rule.split()
    if len(fields) != len(_RANGES):
        raise WrongCron(f"{rule!r} does not have five fields")
    read = [
        frozenset(
            value for part in field.split(",") for value in _values(part, least=least, most=most)
        )
        for field, (least, most) in zip(fields, _RANGES, strict=True)
    ]
    read[4] = frozenset(value % 7 for value in read[4])
    return tuple(read)


def _values(part: str, *, least: int, most: int) -> range:
    read = _PART.fullmatch(part)
    if read is None:
        raise WrongCron(f"{part!r} cannot be read")
    begin, end, step = int(read["first"] or least), most, int(read["step"] or 1)
    if read["last"] or (read["first"] and not read["step"]):
        end = int(read["last"] or begin)
    if not least <= begin <= end <= most or step < 1:
        raise WrongCron(f"{part!r} is not between {least} and {most}")
    return range(begin, end + 1, step)
