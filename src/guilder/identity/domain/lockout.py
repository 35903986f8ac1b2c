"""How long sign-ins have to wait after others have failed, and which failures count together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

_DOUBLINGS: Final = 20


class Guessing(StrEnum):
    """What is guessed at. Failures at one count for no other, whatever name was written."""

    PASSWORD = "sign-in"  # noqa: S105 - a kind of attempt, not a secret
    PASSWORD_CHANGE = "password change"  # noqa: S105 - a kind of attempt, not a secret
    CODE = "code"
    CONTACT_CODE = "contact code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The first ``free`` failures are; each one more waits twice as long as the one before."""

    free: int
    first: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=15)
    forgets: timedelta = timedelta(hours=24)
    """After so long without a failure all of them are forgotten."""

    def pause(self, failures: int) -> timedelta:
        """How long to wait after so many failures in a row."""
        if failures < self.free:
            return timedelta(0)
        return min(self.longest, self.first * (1 << min(failures - self.free, _DOUBLINGS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """So many failures at once, and one more after each pause: for whom many people share."""

    at_once: int
    pause: timedelta

    def one_more(self, failures: Failures | None, *, at: datetime) -> Failures:
        """What is kept when one more fails. While ``blocked_until`` is past, there is room."""
        full = at - self.at_once * self.pause
        before = full if failures is None else failures.blocked_until or full
        count = 1 if failures is None else failures.count + 1
        return Failures(count=count, last_at=at, blocked_until=max(before, full) + self.pause)

    def one_less(self, failures: Failures) -> Failures:
        """What is kept when one that was counted turns out to be no failure."""
        blocked_until = failures.blocked_until
        return Failures(
            count=max(0, failures.count - 1),
            last_at=failures.last_at,
            blocked_until=None if blocked_until is None else blocked_until - self.pause,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoffs:
    """Which failures are counted: for a name from one address, from anywhere, and so on."""

    name_here: Backoff = Backoff(free=5)
    """One name, guessed at from one address."""
    name: Backoff = Backoff(free=20)
    """One name, guessed at from wherever; a remembered device is not held up by it."""
    device: Backoff = Backoff(free=5)
    """A remembered device, which has failures of its own and none of the others'."""
    code: Backoff = Backoff(free=25, longest=timedelta(hours=1))
    """Codes that sign in to one name, or prove one user's address, guessed at from wherever: an
    hour's worth of codes is free, so some fifty guesses at a million on a first day, and a day's
    hours on any other."""
    address: Allowance = Allowance(at_once=100, pause=timedelta(seconds=6))
    """Any names, guessed at from one address, which may be a whole office's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """What failed in a row until ``last_at``."""

    count: int
    last_at: datetime
    blocked_until: datetime | None


def wait(failures: Failures | None, *, at: datetime) -> timedelta:
    """How long the next attempt still has to wait; zero: it does not."""
    if failures is None or failures.blocked_until is None:
        return timedelta(0)
    return max(timedelta(0), failures.blocked_until - at)


def one_more(failures: Failures | None, *, at: datetime, backoff: Backoff) -> Failures:
    """What is kept when an attempt fails, or begins and may yet fail."""
    count = 1
    if failures is not None and at - failures.last_at < backoff.forgets:
        count = failures.count + 1
    pause = backoff.pause(count)
    return Failures(count=count, last_at=at, blocked_until=at + pause if pause else None)
