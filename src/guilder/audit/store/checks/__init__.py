"""What must be true of audit: by the database alone, and by the heads that were published.

The hashes are computed by PostgreSQL itself, apart from the code that wrote them.
"""

from __future__ import annotations

from typing import Final

from guilder.audit.store.checks import records
from guilder.platform.checks import Check

CHECKS: Final[tuple[Check, ...]] = records.CHECKS
"""Those that need the database alone."""
