"""Time is passed in: aware UTC datetimes, and a port for whoever has to ask for the time.

Where a life time matters (a quote, a hold, a key) the database's clock after the lock decides, not
this one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

from guilder.kernel.invariant import invariant

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """Tells the time: an aware UTC datetime."""

    def now(self) -> datetime: ...


def epoch_microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact (no float on the way).

    Raises:
        InvariantViolation: ``moment`` has no time zone.
    """
    invariant(moment.tzinfo is not None, "a moment carries its time zone")
    return (moment - EPOCH) // _MICROSECOND


def shared_epoch_microseconds(moment: datetime) -> int:
    """`epoch_microseconds`, of a moment that many rows have in common: that of their batch."""
    # Elsewhere two moments can be equal and an hour apart, when clocks are set back.
    return _of_utc(moment) if moment.tzinfo is UTC else epoch_microseconds(moment)


@lru_cache(maxsize=16)
def _of_utc(moment: datetime) -> int:
    return epoch_microseconds(moment)
