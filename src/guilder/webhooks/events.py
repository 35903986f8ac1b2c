"""Facts that webhooks publish, keyed by the endpoint. None of them carries a URL or a secret."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from guilder.kernel.ids import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCreated:
    """Somebody registered an endpoint."""

    TYPE: ClassVar[str] = "com.guilder.webhook.endpoint_created"

    endpoint_id: UUID
    owner_id: UserId
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChanged:
    """An owner changed where an endpoint is, what it hears, or enabled or disabled it."""

    TYPE: ClassVar[str] = "com.guilder.webhook.endpoint_changed"

    endpoint_id: UUID
    owner_id: UserId
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDeleted:
    """An owner removed an endpoint."""

    TYPE: ClassVar[str] = "com.guilder.webhook.endpoint_deleted"

    endpoint_id: UUID
    owner_id: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRotated:
    """An endpoint has a new secret; the one before it signs as well until ``overlap_until``."""

    TYPE: ClassVar[str] = "com.guilder.webhook.secret_rotated"

    endpoint_id: UUID
    owner_id: UserId
    overlap_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDisabled:
    """Guilder stopped calling an endpoint: it said it is gone, or has failed for too long."""

    TYPE: ClassVar[str] = "com.guilder.webhook.endpoint_disabled"

    endpoint_id: UUID
    owner_id: UserId
    host: str
    reason: str
    disabled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRequested:
    """An owner asked for deliveries to be sent again."""

    TYPE: ClassVar[str] = "com.guilder.webhook.replay_requested"

    endpoint_id: UUID
    owner_id: UserId
    deliveries: int
