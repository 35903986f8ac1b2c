"""What audit hears: everything."""

from __future__ import annotations

from typing import Final

from guilder.audit.service.keep_records import KeepRecords
from guilder.platform.bus import Subscription

GROUP: Final = "audit.records"


def subscriptions(keep: KeepRecords) -> tuple[Subscription, ...]:
    """Every event becomes a record."""
    return (Subscription(group=GROUP, types=None, hear=keep.hear),)
