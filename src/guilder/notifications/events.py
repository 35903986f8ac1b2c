"""Facts that notifications publish, keyed by the person. They say what was sent, never the text."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId


class NotificationSent(Struct, frozen=True, kw_only=True):
    """A provider took a message to one of a person's addresses."""

    TYPE: ClassVar[str] = "com.guilder.notification.sent"

    message_id: UUID
    user_id: UserId
    channel: str
    template: str
    sent_at: datetime


class NotificationFailed(Struct, frozen=True, kw_only=True):
    """A message was given up: it was refused for good, or tried often enough."""

    TYPE: ClassVar[str] = "com.guilder.notification.failed"

    message_id: UUID
    user_id: UserId
    channel: str
    template: str
    reason: str
    failed_at: datetime
