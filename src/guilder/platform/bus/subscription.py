"""What is heard and who hears it: events, and the groups that contexts subscribe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from guilder.kernel.ids import EventId
from guilder.platform.db import Tx
from guilder.platform.origin import NOWHERE, Origin


class Start(StrEnum):
    """Where a group begins that has heard nothing yet."""

    BEGINNING = "beginning"
    """With the oldest event that is still kept."""
    NOW = "now"
    """With what commits from the moment it is first fed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact as a subscriber hears it. ``key`` is the aggregate whose order is kept.

    ``origin`` says who caused it, in which request.
    """

    id: EventId
    type: str
    key: str
    time: datetime
    data: Mapping[str, Any]
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """``group`` hears events of ``types`` (None: all), several at a time, in the order of each key.

    Its effect happens in the transaction it is given. What it raises undoes the effect; the event
    at fault is then tried again by itself, and no event of another key waits for it.
    """

    group: str
    types: frozenset[str] | None
    hear: Callable[[Tx, Sequence[Event]], Awaitable[None]]
    starts: Start = Start.BEGINNING
    most: int = 500
    """How many events it hears at once."""
