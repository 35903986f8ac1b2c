"""Words of notifications: channels, categories, messages, the port of a channel, refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol
from uuid import UUID

from guilder.kernel.errors import Conflict, Family, NotFound, Refusal
from guilder.kernel.ids import UserId

NoticeId = NewType("NoticeId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
DeviceId = NewType("DeviceId", UUID)


class Channel(StrEnum):
    """A way to reach somebody."""

    IN_APP = "in_app"
    EMAIL = "email"
    SMS = "sms"
    PUSH = "push"


class Category(StrEnum):
    """What a notice is about. People choose by category; security is not theirs to switch off."""

    SECURITY = "security"
    PAYMENTS = "payments"
    ACCOUNT = "account"
    MARKETING = "marketing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A rendered notice with its address: an email, a phone number, a device's token.

    ``id`` is the delivery's and stays the same when it is sent again.
    """

    id: DeliveryId
    user_id: UserId
    channel: Channel
    to: str = field(repr=False)
    title: str
    short: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)


class NotDelivered(Exception):
    """The provider did not take the message now; it may later. The message is for the log."""


class Undeliverable(Exception):
    """The provider will never take this message to this address."""


class AddressGone(Undeliverable):
    """The address does not exist any more and should be forgotten."""


class Sender(Protocol):
    """Takes messages of one channel to their addresses. May be given a message again."""

    async def send(self, message: Message) -> str:
        """Hand the message over, and return the provider's name for it ("" when it has none).

        Raises:
            NotDelivered: worth trying again later.
            Undeliverable: not worth trying again.
        """
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...


class NoticeNotFound(NotFound):
    """There is no such notification, or it is somebody else's."""

    message = "There is no such notification."


class TemplateNotFound(NotFound):
    """No template has this name."""

    message = "There is no such template."


class MessageNotFound(NotFound):
    """No message has this id."""

    message = "There is no such message."


class DeviceNotFound(NotFound):
    """There is no such device, or it is somebody else's."""

    message = "There is no such device."


class MessageIdTaken(Conflict):
    """The id belongs to another message already."""

    message = "Another message has this id."


class TooManyStreams(Refusal):
    """The caller has as many streams open as one may have."""

    code = "TOO_MANY_STREAMS"
    family = Family.TOO_MANY
    message = "Too many streams are open; close one first."


class TooManyDevices(Conflict):
    """The caller has registered as many devices as one may have."""

    message = "Too many devices are registered; remove one first."
