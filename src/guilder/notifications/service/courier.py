"""Takes messages to their channels: claim, send, record. It may be killed anywhere in between.

A message is sent at least once: whoever dies between sending and recording leaves it to be sent
again, under the same id, by which providers and mail programs tell it is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec
import structlog

from guilder.identity.events import PersonalDetails, contact_place
from guilder.notifications.api import (
    AddressGone,
    Channel,
    Message,
    NotDelivered,
    Sender,
    Undeliverable,
)
from guilder.notifications.domain.deliveries import MOST_ATTEMPTS, next_pause
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import Delivery
from guilder.notifications.events import NotificationFailed, NotificationSent
from guilder.notifications.service.wording import Writer
from guilder.notifications.store import deliveries, people
from guilder.platform import failpoints, outbox
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys, Unreadable

BEFORE_SEND: Final = failpoints.declare(
    "notification.before_send", "a message is claimed and written, and not sent"
)
AFTER_SEND: Final = failpoints.declare(
    "notification.after_send", "a message is sent, and nobody has recorded it"
)

LEASE_S: Final = 30.0
"""After this a message whose courier died is due again; nobody sends for longer than half of it."""
_AT_ONCE: Final = 16
_KEPT_IN_SANDBOX: Final = timedelta(days=7)

_log = structlog.get_logger(__name__)
_Reading: TypeAlias = tuple[bytes | None, str | None, Preferences]


class Courier:
    """Delivers what is due, by the ``senders`` there are. Any number may work at once."""

    def __init__(
        self,
        db: Database,
        *,
        writer: Writer,
        contacts: OuterKeys,
        senders: Mapping[Channel, Sender],
        default: Preferences,
        lease_s: float = LEASE_S,
    ) -> None:
        self._db = db
        self._writer = writer
        self._contacts = contacts
        self._senders = dict(senders)
        self._default = default
        self._lease_s = lease_s

    async def deliver(self) -> None:
        """Send everything that is due."""
        while True:
            claimed = await self._db.run(
                lambda tx: deliveries.claim(tx, limit=_AT_ONCE, lease_s=self._lease_s)
            )
            if not claimed:
                return
            async with asyncio.TaskGroup() as group:
                for delivery in claimed:
                    group.create_task(self._carry(delivery))

    async def clear_sandbox(self) -> None:
        """Empty the sandbox outbox of what is older than a week."""
        await self._db.run(lambda tx: deliveries.clear_outbox(tx, older_than=_KEPT_IN_SANDBOX))

    async def close(self) -> None:
        """Give up the senders' connections."""
        for sender in self._senders.values():
            await sender.close()

    async def _carry(self, delivery: Delivery) -> None:
        if delivery.attempts > MOST_ATTEMPTS:
            await self._fail(delivery, "tried_too_often")
            return
        try:
            message = await self._message(delivery)
            await failpoints.reach(BEFORE_SEND)
            reference = await self._send(message)
        except AddressGone as error:
            await self._forget(delivery)
            await self._fail(delivery, str(error))
        except Undeliverable as error:
            await self._fail(delivery, str(error))
        except failpoints.FailpointReached:
            raise
        except NotDelivered as error:
            await self._postpone(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - a bug with one message must not stop the others
            _log.exception("notifications.bug", delivery=str(delivery.id))
            await self._postpone(delivery, type(error).__name__)
        else:
            await failpoints.reach(AFTER_SEND)
            await self._db.run(lambda tx: _record_sent(tx, delivery, reference))

    async def _message(self, delivery: Delivery) -> Message:
        sealed, token, chosen = await self._db.run(lambda tx: self._read(tx, delivery))
        if sealed is None:
            raise Undeliverable("no_contact")
        try:
            opened = self._contacts.unwrap(sealed, at=contact_place(delivery.user_id))
        except Unreadable:
            raise Undeliverable("contact_unreadable") from None
        details = msgspec.json.decode(opened, type=PersonalDetails)
        by_channel = {
            Channel.EMAIL: details.email,
            Channel.SMS: details.phone,
            Channel.PUSH: token,
        }
        address = by_channel[delivery.channel]
        if address is None:
            raise Undeliverable("no_address")
        wording = self._writer.write(
            delivery.template,
            delivery.data,
            language=chosen.language,
            time_zone=chosen.time_zone,
            name=details.full_name,
        )
        return Message(
            id=delivery.id,
            user_id=delivery.user_id,
            channel=delivery.channel,
            to=address,
            title=wording.title,
            short=wording.short,
            text=wording.text,
            html=wording.html,
        )

    async def _read(self, tx: Tx, delivery: Delivery) -> _Reading:
        sealed = await people.contact(tx, delivery.user_id)
        token = None
        if delivery.device_id is not None:
            token = await people.device_token(tx, delivery.user_id, device_id=delivery.device_id)
        readers = await people.readers(tx, [delivery.user_id], default=self._default)
        return sealed, token, readers[delivery.user_id].preferences

    async def _send(self, message: Message) -> str:
        sender = self._senders.get(message.channel)
        if sender is None:
            raise NotDelivered("no_provider")
        try:
            async with asyncio.timeout(LEASE_S / 2):
                return await sender.send(message)
        except TimeoutError:
            raise NotDelivered("timeout") from None

    async def _postpone(self, delivery: Delivery, reason: str) -> None:
        pause = next_pause(delivery.attempts)
        if pause is None:
            await self._fail(delivery, reason)
            return
        await self._db.run(lambda tx: deliveries.postpone(tx, delivery, pause=pause, reason=reason))

    async def _fail(self, delivery: Delivery, reason: str) -> None:
        await self._db.run(lambda tx: _record_failed(tx, delivery, reason))

    async def _forget(self, delivery: Delivery) -> None:
        device_id = delivery.device_id
        if device_id is not None:
            await self._db.run(
                lambda tx: people.forget_device(tx, delivery.user_id, device_id=device_id)
            )


async def _record_sent(tx: Tx, delivery: Delivery, reference: str) -> None:
    ended_at = await deliveries.end(tx, delivery, status="sent", reference=reference)
    if ended_at is not None:
        fact = NotificationSent(
            message_id=delivery.id,
            user_id=delivery.user_id,
            channel=delivery.channel.value,
            template=delivery.template,
            sent_at=ended_at,
        )
        await outbox.append(tx, [outbox.outgoing(fact, key=str(delivery.user_id))])


async def _record_failed(tx: Tx, delivery: Delivery, reason: str) -> None:
    ended_at = await deliveries.end(tx, delivery, status="failed", reason=reason)
    if ended_at is not None:
        fact = NotificationFailed(
            message_id=delivery.id,
            user_id=delivery.user_id,
            channel=delivery.channel.value,
            template=delivery.template,
            reason=reason,
            failed_at=ended_at,
        )
        await outbox.append(tx, [outbox.outgoing(fact, key=str(delivery.user_id))])
