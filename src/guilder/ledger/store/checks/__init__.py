"""What must be true of the ledger's tables, recomputed from the entries in set-based SQL.

`CHECKS` is all of it. The hashes are computed by PostgreSQL itself, apart from the code that
wrote them, so an error in one is seen by the other.
"""

from __future__ import annotations

from typing import Final

from guilder.ledger.store.checks import (
    accounts,
    chains,
    controls,
    events,
    floors,
    heads,
    holds,
    transactions,
)
from guilder.platform.checks import Check

CHECKS: Final[tuple[Check, ...]] = (
    *accounts.CHECKS,
    *chains.CHECKS,
    *transactions.CHECKS,
    *holds.CHECKS,
    *floors.CHECKS,
    *controls.CHECKS,
    *heads.CHECKS,
    *events.CHECKS,
)
