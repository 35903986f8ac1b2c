"""What ``guilder verify`` finds out about jobs."""

from __future__ import annotations

from typing import Final

from guilder.platform.checks import Check, sql_check

_TIMES: Final = """
    SELECT id::text, format('it is %s, tried %s times, last held as %s', state, attempts, token)
    FROM platform.jobs
    WHERE attempts < 0 OR attempts > token OR finished_at < created_at
"""

CHECKS: Final[tuple[Check, ...]] = (
    sql_check(
        "jobs held",
        table="platform.jobs",
        invariant="a job was held at least as often as it was tried, and ended after it began",
        query=_TIMES,
    ),
)
