"""What is kept of people's notices and messages, as every layer sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.notifications.api import Channel, DeliveryId, DeviceId, NoticeId


class FeedItem(Struct, frozen=True, kw_only=True):
    """A notice as it stands in a feed: what it is about, and not yet in words."""

    user_id: UserId
    sequence: int
    id: NoticeId
    template: str
    category: str
    data: Mapping[str, str]
    created_at: datetime
    read_at: datetime | None


class Delivery(Struct, frozen=True, kw_only=True):
    """A message as its row says. ``attempts`` counts the one that is being made."""

    id: DeliveryId
    user_id: UserId
    channel: Channel
    device_id: DeviceId | None
    template: str
    category: str
    data: Mapping[str, str]
    status: str
    attempts: int
    due_at: datetime
    reason: str | None
    created_at: datetime
    ended_at: datetime | None


class Ended(Struct, frozen=True, kw_only=True):
    """How a message ended: sent, under a provider's name for it, or failed for a reason."""

    delivery: Delivery
    status: str
    reason: str | None = None
    reference: str | None = None


class Letter(Struct, frozen=True, kw_only=True):
    """A message with its address, and without its words."""

    id: DeliveryId
    user_id: UserId
    channel: Channel
    to: str


class LaidOut(Struct, frozen=True, kw_only=True):
    """A message in the sandbox outbox: where it went, and what it is about."""

    id: UUID
    user_id: UserId
    channel: str
    recipient: str
    template: str
    data: Mapping[str, str]
    sent_at: datetime


class Device(Struct, frozen=True, kw_only=True):
    """Where push messages go to: an app on somebody's device."""

    id: DeviceId
    label: str
    added_at: datetime
