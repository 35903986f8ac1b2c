"""Delivers events from the outbox to subscribers, each effect once, in order of commit per group.

A subscriber's effect and the record of how far its group has read are one commit. Rows are read
only below the oldest running transaction, so one that commits late is never skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guilder.kernel.ids import EventId
from guilder.platform.db import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact as a subscriber hears it. ``key`` is the aggregate whose order is kept."""

    id: EventId
    type: str
    key: str
    time: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """``group`` hears events of ``types``; its effect happens in the transaction it is given."""

    group: str
    types: frozenset[str]
    hear: Callable[[Tx, Event], Awaitable[None]]
