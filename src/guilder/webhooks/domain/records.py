"""Endpoints and deliveries as their owners know them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.webhooks.api import (
    DeliveryId,
    DeliveryState,
    DisabledReason,
    EndpointId,
    EndpointStatus,
)


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint as it is stored; its secrets are sealed.

    A machine client's hears what concerns the user whom it ``acts_for``, too.
    """

    id: EndpointId
    owner_id: UserId
    acts_for: UserId | None = None
    url: str
    description: str
    events: tuple[str, ...]
    status: EndpointStatus
    disabled_reason: DisabledReason | None
    secret: bytes
    previous_secret: bytes | None
    previous_until: datetime | None
    failing_since: datetime | None
    created_at: datetime
    changed_at: datetime


MOST_ANSWERS = 10
"""Of how many attempts of a delivery the answers are kept, the last ones: a whole schedule's."""


class AttemptRecord(Struct, frozen=True, kw_only=True):
    """One request that was made, and what came back.

    Of an attempt with `MOST_ANSWERS` behind it, headers and body are not kept.
    """

    number: int
    started_at: datetime
    duration_ms: int
    status: int | None
    failure: str | None
    headers: list[tuple[str, str]]
    body: str
    is_cut: bool


class Delivery(Struct, frozen=True, kw_only=True):
    """A delivery with its log, or the end of it: ``attempts`` counts all there were."""

    id: DeliveryId
    endpoint_id: EndpointId
    event_id: UUID
    type: str
    key: str
    position: int
    state: DeliveryState
    attempts: int
    due_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    log: tuple[AttemptRecord, ...] = ()
