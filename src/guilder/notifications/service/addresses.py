"""Where a message goes: the address of its channel, and the name, from a sealed contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from guilder.identity.events import (
    PersonalDetails,
    contact_place,
)
from guilder.kernel.ids import UserId
from guilder.notifications.api import Channel, DeviceId, Undeliverable
from guilder.notifications.domain.records import Delivery
from guilder.notifications.store import people
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys, Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An email, a phone number or a device's token, and whom it reaches."""

    to: str = field(repr=False)
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressBook:
    """What is needed to address some messages: the contacts, still sealed, and the tokens."""

    contacts: Mapping[UserId, bytes]
    tokens: Mapping[tuple[UserId, DeviceId], str] = field(repr=False)

    @classmethod
    async def read(cls, tx: Tx, deliveries: Sequence[Delivery]) -> AddressBook:
        """What these messages need."""
        device_ids = [one.device_id for one in deliveries if one.device_id is not None]
        return cls(
            contacts=await people.contacts(tx, {one.user_id for one in deliveries}),
            tokens=await people.device_tokens(tx, device_ids) if device_ids else {},
        )

    def address(self, delivery: Delivery, *, keys: OuterKeys) -> Address:
        """Where this message goes.

        Raises:
            Undeliverable: nobody knows; the message says why.
        """
        details = details_of(delivery.user_id, self.contacts.get(delivery.user_id), keys=keys)
        to: str | None
        if delivery.channel is Channel.EMAIL:
            to = details.email
        elif delivery.channel is Channel.SMS:
            to = details.phone
        elif delivery.device_id is not None:
            to = self.tokens.get((delivery.user_id, delivery.device_id))
        else:
            to = None
        if to is None:
            raise Undeliverable("no_address")
        return Address(to=to, name=details.full_name)


def details_of(user_id: UserId, sealed: bytes | None, *, keys: OuterKeys) -> PersonalDetails:
    """A person's name and addresses.

    Raises:
        Undeliverable: there are none, or none that can be read.
    """
    if sealed is None:
        raise Undeliverable("no_contact")
    try:
        opened = keys.unwrap(sealed, at=contact_place(user_id))
        return msgspec.json.decode(opened, type=PersonalDetails)
    except (Unreadable, msgspec.DecodeError):
        raise Undeliverable("contact_unreadable") from None
