"""Makes the identifiers that Guilder chooses itself: UUID version 7 (RFC 9562), time-ordered."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A new UUID version 7."""
    return uuid7()
