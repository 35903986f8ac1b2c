"""What a person wants to hear, where and when. Security is always told, and at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from guilder.notifications.api import Category, Channel

LANGUAGES: Final = ("en", "hi")
"""Languages that templates exist in. The first is what others fall back to."""

_OF_MACHINES: Final = frozenset({"localtime", "posixrules", "Factory"})
_OF_FILES: Final = ("posix/", "right/")

Choices = Mapping[tuple[Category, Channel], bool]

_IN_APP, _EMAIL, _SMS, _PUSH = Channel.IN_APP, Channel.EMAIL, Channel.SMS, Channel.PUSH
_BY_DEFAULT: Final[Mapping[Category, frozenset[Channel]]] = {
    Category.SECURITY: frozenset({_IN_APP, _EMAIL, _PUSH}),
    Category.PAYMENTS: frozenset({_IN_APP, _EMAIL, _PUSH}),
    Category.ACCOUNT: frozenset({_IN_APP, _EMAIL}),
    Category.MARKETING: frozenset({_IN_APP}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From one time of the day until another, past midnight where the end comes first."""

    start: time
    end: time

    def has(self, moment: time) -> bool:
        """Whether ``moment`` is in them; the end is not."""
        if self.start <= self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """A person's choices; what they did not choose is as by default."""

    language: str
    time_zone: str
    quiet: QuietHours | None = None
    choices: Choices = field(default_factory=dict)

    def wants(self, category: Category, channel: Channel) -> bool:
        """Whether notices of this category go out on this channel."""
        by_default = channel in _BY_DEFAULT[category]
        if is_fixed(category, channel):
            return True
        return self.choices.get((category, channel), by_default)

    def send_at(self, now: datetime, category: Category) -> datetime:
        """When a message that is ready now may be sent: now, or when the quiet hours end."""
        if self.quiet is None or category is Category.SECURITY:
            return now
        local = now.astimezone(ZoneInfo(self.time_zone))
        if not self.quiet.has(local.time()):
            return now
        ends = local.replace(
            hour=self.quiet.end.hour,
            minute=self.quiet.end.minute,
            second=0,
            microsecond=0,
            fold=0,
        )
        if local.time() >= self.quiet.end:
            ends += timedelta(days=1)
        return max(now, ends.astimezone(UTC))


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The time zones one may choose: those of the tz database, which every machine has.

    A machine may know others, of its own or of the file system.
    """
    return frozenset(
        name
        for name in available_timezones()
        if name not in _OF_MACHINES and not name.startswith(_OF_FILES)
    )


@lru_cache(maxsize=1024)
def is_known(time_zone: str) -> bool:
    """Whether this machine can tell the time there."""
    try:
        ZoneInfo(time_zone)
    except (LookupError, OSError, ValueError):
        return False
    return True


def is_fixed(category: Category, channel: Channel) -> bool:
    """Whether this is on for everybody: security notices, wherever they cost nothing."""
    return category is Category.SECURITY and channel in _BY_DEFAULT[category]
