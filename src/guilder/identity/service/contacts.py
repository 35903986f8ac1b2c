"""Tells others how a person is called and reached, encrypted, whenever that has changed."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

import msgspec

from guilder.identity.events import (
    PersonalDetails,
    UserContactChanged,
    contact_place,
)
from guilder.identity.store.users import database_time
from guilder.kernel.ids import UserId
from guilder.platform.db import Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.outbox import append, outgoing


class Reachable(Protocol):
    """Somebody with a name and addresses."""

    @property
    def full_name(self) -> str:
        """As they wrote it."""
        ...

    @property
    def email(self) -> str:
        """The address as they wrote it."""
        ...

    @property
    def phone(self) -> str | None:
        """In E.164; None for whoever has none."""
        ...


def details_of(person: Reachable) -> PersonalDetails:
    """The name and addresses of a person."""
    return PersonalDetails(full_name=person.full_name, email=person.email, phone=person.phone)


def sealed(user_id: UserId, details: PersonalDetails, *, keys: OuterKeys) -> str:
    """The user's name and addresses, encrypted for whoever has to reach them."""
    contact = keys.wrap(msgspec.json.encode(details), at=contact_place(user_id))
    return b64encode(contact).decode("ascii")


async def publish(tx: Tx, user_id: UserId, details: PersonalDetails, *, contact: str) -> None:
    """Tell where the user can be reached; ``contact`` is what `sealed` made of ``details``.

    Called before anything else is told of them.
    """
    event = UserContactChanged(
        user_id=user_id,
        sealed=contact,
        has_email=details.email is not None,
        has_phone=details.phone is not None,
        changed_at=await database_time(tx),
    )
    await append(tx, [outgoing(event, key=str(user_id))])
