"""Background work of the ledger: holds expire, and what is new is verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from guilder.ledger.domain.verification import Violation
from guilder.ledger.service.end_holds import EndHolds
from guilder.ledger.service.verify_recent import VerifyRecent
from guilder.platform.module import Job

_log = structlog.get_logger("guilder.ledger")
_HOLDS_EVERY_S: Final = 1.0
_VERIFY_EVERY_S: Final = 10.0


def expire_holds(holds: EndHolds) -> Job:
    """Frees what is held by holds whose time is over."""

    async def run() -> None:
        await holds.expire_due()

    return Job(name="ledger.expire_holds", every_s=_HOLDS_EVERY_S, run=run)


def verify_recent(verification: VerifyRecent) -> Job:
    """Verifies what was recorded since the last time."""
    return Job(name="ledger.verify", every_s=_VERIFY_EVERY_S, run=verification.run)


def reporter(registry: CollectorRegistry) -> Callable[[Violation], None]:
    """Counts each violation once for as long as this process lives, and logs it.

    The alert on ``ledger_invariant_violations_total`` is the one that wakes people.
    """
    counter = Counter(
        "ledger_invariant_violations",
        "Places where the ledger contradicts itself, by invariant.",
        ["invariant"],
        registry=registry,
    )
    known: set[Violation] = set()

    def report(violation: Violation) -> None:
        if violation not in known:
            known.add(violation)
            counter.labels(violation.invariant).inc()
            _log.critical(
                "ledger.invariant_violated", invariant=violation.invariant, row=violation.row
            )

    return report
