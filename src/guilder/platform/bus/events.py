"""What was decided about dead letters and groups of listeners, keyed by the group."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from guilder.kernel.ids import EventId


class DeadLetterReplayed(Struct, frozen=True, kw_only=True):
    """An event that a group had given up will be tried again as if for the first time."""

    TYPE: ClassVar[str] = "com.guilder.event.replayed"

    event_id: EventId
    event_type: str
    event_key: str
    group: str


class DeadLetterDiscarded(Struct, frozen=True, kw_only=True):
    """An event that a group had given up never has its effect there."""

    TYPE: ClassVar[str] = "com.guilder.event.discarded"

    event_id: EventId
    event_type: str
    event_key: str
    group: str


class GroupForgotten(Struct, frozen=True, kw_only=True):
    """How far a group had come is forgotten, and events are no longer kept for it."""

    TYPE: ClassVar[str] = "com.guilder.group.forgotten"

    group: str
