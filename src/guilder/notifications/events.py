"""Facts that notifications publish, keyed by the person. They say what was sent, never the text.

What is personal in them stands in ``personal``, which audit keeps encrypted with a key of the
person.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import ClassVar
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId


class NotificationRequested(Struct, frozen=True, kw_only=True):
    """Staff asked for a message to a person. ``suppressed`` is why it does not go out, if so."""

    TYPE: ClassVar[str] = "com.guilder.notification.requested"

    message_id: UUID
    user_id: UserId
    channel: str
    template: str
    category: str
    suppressed: str | None


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


class ChosenPreferences(Struct, frozen=True, kw_only=True):
    """What somebody hears where. ``channels`` are those they chose themselves, by category."""

    channels: Mapping[str, Mapping[str, bool]]


class ChosenHabits(Struct, frozen=True, kw_only=True):
    """In which language somebody is told, and when: what tells where and how they live."""

    language: str
    time_zone: str
    quiet_from: time | None
    quiet_until: time | None


class HabitsChanged(Struct, frozen=True, kw_only=True):
    """What is personal in a change of preferences, also where it stayed as it was."""

    before: ChosenHabits
    after: ChosenHabits


class PreferencesChanged(Struct, frozen=True, kw_only=True):
    """Somebody chose what to hear, where and when."""

    TYPE: ClassVar[str] = "com.guilder.notification.preferences_changed"

    user_id: UserId
    before: ChosenPreferences
    after: ChosenPreferences
    personal: HabitsChanged


class DeviceAdded(Struct, frozen=True, kw_only=True):
    """Push messages to somebody go to this device from now on."""

    TYPE: ClassVar[str] = "com.guilder.notification.device_added"

    device_id: UUID
    user_id: UserId


class DeviceRemoved(Struct, frozen=True, kw_only=True):
    """Nothing is sent to this device of somebody any more: they forgot it, or another has it."""

    TYPE: ClassVar[str] = "com.guilder.notification.device_removed"

    device_id: UUID
    user_id: UserId
