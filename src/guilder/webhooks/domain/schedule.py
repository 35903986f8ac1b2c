"""What follows from an answer: done, once more later, given up, or never again.

The waits are those that the Standard Webhooks specification recommends: immediately, then after 5
seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct

WAITS_S: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds from each attempt to the next, before jitter."""
MOST_JITTER: Final = 200
"""By how many thousandths a wait is lengthened at most, so that failures do not march in step."""
LONGEST_WAIT_S: Final = 86_400
_GONE: Final = 410
_ASKS_TO_WAIT: Final = frozenset({429, 503})


class Outcome(StrEnum):
    """What one attempt came to."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GIVEN_UP = "given_up"
    GONE = "gone"


class Verdict(Struct, frozen=True):
    """``wait_ms`` is how long until the next attempt, where there is one."""

    outcome: Outcome
    wait_ms: int = 0


def judge(
    status: int | None,
    *,
    failures: int,
    waits_ms: Sequence[int],
    retry_after_s: int | None,
    jitter: int,
) -> Verdict:
    """What follows from an answer with ``status`` (None: there was none).

    ``failures`` counts the attempts of this round that failed before; ``jitter`` is a random
    number of thousandths, up to `MOST_JITTER`. A receiver that asks to wait longer (429 or 503
    with Retry-After) is given that time, up to a day.
    """
    if status is not None and 200 <= status <= 299:
        return Verdict(Outcome.DELIVERED)
    if status == _GONE:
        return Verdict(Outcome.GONE)
    if failures >= len(waits_ms):
        return Verdict(Outcome.GIVEN_UP)
    wait_ms = waits_ms[failures] * (1000 + jitter) // 1000
    if status in _ASKS_TO_WAIT and retry_after_s is not None:
        wait_ms = max(wait_ms, min(retry_after_s, LONGEST_WAIT_S) * 1000)
    return Verdict(Outcome.RETRY, wait_ms)


def is_hopeless(failing_since: datetime, *, now: datetime, patience: timedelta) -> bool:
    """Whether an endpoint that only failed since then has failed for too long."""
    return now - failing_since >= patience
