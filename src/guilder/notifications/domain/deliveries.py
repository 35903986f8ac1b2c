"""How often a message is tried, and when again."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

_PAUSES: Final = tuple(
    timedelta(seconds=seconds) for seconds in (10, 60, 300, 1_800, 7_200, 21_600)
)

MOST_ATTEMPTS: Final = len(_PAUSES) + 1
"""How often a message is tried before it is given up."""

NEWS_FOR: Final = timedelta(hours=24)
"""What happened longer ago stands in the feed and is not sent after people any more, unless it is
security: that is always sent."""


def next_pause(attempts: int) -> timedelta | None:
    """How long to wait after so many failed attempts; None: it was tried often enough."""
    return _PAUSES[attempts - 1] if attempts <= len(_PAUSES) else None
