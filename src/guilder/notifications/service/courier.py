"""Takes messages to their channels: claim, send, record. It may be killed anywhere in between.

A message is sent at least once: whoever dies between sending and recording leaves it to be sent
again, under the same id, by which providers and mail programs tell it is the same. What goes to
the sandbox outbox never leaves the database, so there all three are one transaction.

Channels do not wait for each other, nor does a message for others of its channel: whenever one has
ended, the next is claimed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from guilder.kernel.ids import UserId
from guilder.notifications.api import (
    AddressGone,
    Category,
    Channel,
    Message,
    NotDelivered,
    Sender,
    Undeliverable,
)
from guilder.notifications.domain.deliveries import MOST_ATTEMPTS, next_pause
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import Delivery, Ended, Letter
from guilder.notifications.service.addresses import AddressBook
from guilder.notifications.service.channels.simulated import SandboxOutbox, reference
from guilder.notifications.service.codes import in_clear, openable, refuse_late
from guilder.notifications.service.endings import FAILED, SENT, record
from guilder.notifications.service.figures import Figures
from guilder.notifications.service.wording import Writer
from guilder.notifications.store import deliveries, people, sandbox
from guilder.notifications.store.people import Reader
from guilder.platform import failpoints
from guilder.platform.batching import Batcher
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.ephemeral import Openable

BEFORE_SEND: Final = failpoints.declare(
    "notification.before_send", "a message is claimed and written, and not sent"
)
AFTER_SEND: Final = failpoints.declare(
    "notification.after_send", "a message is sent, and nobody has recorded it"
)

LEASE_S: Final = 30.0
"""After this a message whose courier died is due again; nobody sends for longer than half of it."""
_AT_ONCE: Final = 16
_LOOK_EVERY_S: Final = 0.25
_LAID_OUT_AT_ONCE: Final = 500
_KEPT_IN_SANDBOX: Final = timedelta(days=7)
KEPT_FOR: Final = timedelta(days=90)
_CLEARED_AT_ONCE: Final = 1_000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What was claimed together, with what it takes to write and address it."""

    deliveries: Sequence[Delivery]
    book: AddressBook
    readers: Mapping[UserId, Reader]
    codes: Openable = field(repr=False)


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
        figures: Figures | None = None,
        kept_for: timedelta = KEPT_FOR,
    ) -> None:
        self._db = db
        self._writer = writer
        self._contacts = contacts
        self._senders = dict(senders)
        self._default = default
        self._lease_s = lease_s
        self._longest_s = (lease_s or LEASE_S) / 2
        self._figures = figures or Figures(None)
        self._kept_for = kept_for
        self._outboxes = {
            channel: sender
            for channel, sender in self._senders.items()
            if isinstance(sender, SandboxOutbox)
        }
        self._recorder = Batcher[Ended, None](self._record, max_batch=_AT_ONCE, lanes=1)

    @property
    def channels(self) -> list[Channel]:
        """Channels whose messages leave the house; the others' are laid out."""
        outgoing = (channel for channel in Channel if channel is not Channel.IN_APP)
        return [channel for channel in outgoing if channel not in self._outboxes]

    async def deliver(self) -> None:
        """Send everything that is due."""
        await self.lay_out()
        async with asyncio.TaskGroup() as group:
            for channel in self.channels:
                group.create_task(self.deliver_by(channel))

    async def lay_out(self) -> None:
        """Put everything that is due and leaves the house nowhere into the sandbox outbox."""
        while self._outboxes:
            laid_out = await self._db.run(self._lay_out)
            self._figures.count(laid_out)
            if len(laid_out) < _LAID_OUT_AT_ONCE:
                break

    async def deliver_by(self, channel: Channel) -> None:
        """Send everything that is due by one channel, and what becomes due meanwhile.

        After a failure nothing more is claimed, and what is under way ends: cut off, it would go
        out a second time.
        """
        under_way: set[asyncio.Task[None]] = set()
        failures: list[BaseException] = []
        try:
            try:
                await self._keep_sending(channel, under_way=under_way, failures=failures)
            except Exception as failure:  # noqa: BLE001 - raised once the others have ended
                failures.append(failure)
            if under_way:
                await asyncio.wait(under_way, timeout=2 * self._longest_s)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        if failures:
            raise failures[0]

    async def _keep_sending(
        self,
        channel: Channel,
        *,
        under_way: set[asyncio.Task[None]],
        failures: list[BaseException],
    ) -> None:
        """Begin to send what is due until nothing is under way any more, or something failed."""

        def end(task: asyncio.Task[None]) -> None:
            under_way.discard(task)
            if not task.cancelled() and (failure := task.exception()) is not None:
                failures.append(failure)

        # not a group of tasks: that would cut off the claim, and what it claimed would wait
        while not failures:
            free = _AT_ONCE - len(under_way)
            begun = await self._begin(channel, most=free) if free else []
            under_way.update(begun)
            for task in begun:
                task.add_done_callback(end)
            if not under_way:
                break
            if not begun:
                await asyncio.wait(
                    under_way, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )

    async def _begin(self, channel: Channel, *, most: int) -> list[asyncio.Task[None]]:
        """Begin to send what is due, up to so many."""
        claimed = await self._db.run(lambda tx: self._claim(tx, channel, most=most))
        if claimed is None:
            return []
        return [asyncio.create_task(self._carry(one, claimed)) for one in claimed.deliveries]

    async def clear_sandbox(self) -> None:
        """Empty the sandbox outbox of what is older than a week."""
        await self._db.run(lambda tx: sandbox.clear(tx, older_than=_KEPT_IN_SANDBOX))

    async def clear_old(self) -> None:
        """Delete messages that ended long ago, a bounded number at a time."""
        kept_for = self._kept_for
        while await self._db.run(
            lambda tx: deliveries.clear(tx, older_than=kept_for, most=_CLEARED_AT_ONCE)
        ):
            pass

    async def measure(self) -> None:
        """Look how much waits."""
        queued, overdue_s = await self._db.run(deliveries.waiting)
        self._figures.queued.set(queued)
        self._figures.overdue.set(overdue_s)

    async def close(self) -> None:
        """Give up the senders' connections."""
        for sender in self._senders.values():
            await sender.close()

    async def _lay_out(self, tx: Tx) -> Sequence[Ended]:
        """Put what is due into the sandbox outbox and record it; how each message ended."""
        held = await deliveries.hold(tx, limit=_LAID_OUT_AT_ONCE, channels=self._outboxes)
        if not held:
            return []
        book = await AddressBook.read(tx, held)
        letters: dict[Channel, list[Letter]] = {channel: [] for channel in self._outboxes}
        ended = [self._addressed(delivery, book=book, into=letters) for delivery in held]
        await failpoints.reach(BEFORE_SEND)
        for channel, outbox in self._outboxes.items():
            if letters[channel]:
                await outbox.lay_out(tx, letters[channel])
        await failpoints.reach(AFTER_SEND)
        await record(tx, ended, held=True)
        return ended

    def _addressed(
        self, delivery: Delivery, *, book: AddressBook, into: Mapping[Channel, list[Letter]]
    ) -> Ended:
        """Put a letter in with the others of its channel; how the message ends by that."""
        try:
            address = book.address(delivery, keys=self._contacts)
        except Undeliverable as error:
            return Ended(delivery=delivery, status=FAILED, reason=str(error))
        letter = Letter(
            id=delivery.id, user_id=delivery.user_id, channel=delivery.channel, to=address.to
        )
        into[delivery.channel].append(letter)
        return Ended(delivery=delivery, status=SENT, reference=reference(letter))

    async def _claim(self, tx: Tx, channel: Channel, *, most: int) -> _Round | None:
        found = await deliveries.claim(tx, channel, limit=most, lease_s=self._lease_s)
        if not found:
            return None
        user_ids = {delivery.user_id for delivery in found}
        return _Round(
            deliveries=found,
            book=await AddressBook.read(tx, found),
            readers=await people.readers(tx, user_ids, default=self._default),
            codes=await openable(tx, [one.data for one in found], keys=self._contacts),
        )

    async def _carry(self, delivery: Delivery, claimed: _Round) -> None:
        if delivery.attempts > MOST_ATTEMPTS:
            await self._fail(delivery, "tried_too_often")
            return
        chosen = claimed.readers[delivery.user_id].preferences
        later = self._later(delivery, chosen=chosen)
        if later is not None:
            await self._db.run(lambda tx: deliveries.defer(tx, delivery, until=later))
            return
        try:
            _refuse_unwanted(delivery, chosen=chosen)
            message = self._message(delivery, claimed, chosen=chosen)
            await failpoints.reach(BEFORE_SEND)
            named = await self._send(message)
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
            ended = Ended(delivery=delivery, status=SENT, reference=named or None)
            await self._recorder.submit(ended)

    def _later(self, delivery: Delivery, *, chosen: Preferences) -> datetime | None:
        """When this message may be sent, if not now: quiet hours may have come since it was due."""
        now = delivery.due_at - timedelta(seconds=self._lease_s)
        at = chosen.send_at(now, Category(delivery.category))
        return at if at > now else None

    def _message(self, delivery: Delivery, claimed: _Round, *, chosen: Preferences) -> Message:
        refuse_late(delivery, lease_s=self._lease_s)
        address = claimed.book.address(delivery, keys=self._contacts)
        wording = self._writer.write(
            delivery.template,
            in_clear(delivery.data, user_id=delivery.user_id, codes=claimed.codes),
            language=chosen.language,
            time_zone=chosen.time_zone,
            name=address.name,
        )
        return Message(
            id=delivery.id,
            user_id=delivery.user_id,
            channel=delivery.channel,
            to=address.to,
            title=wording.title,
            short=wording.short,
            text=wording.text,
            html=wording.html,
        )

    async def _send(self, message: Message) -> str:
        sender = self._senders.get(message.channel)
        if sender is None:
            raise NotDelivered("no_provider")
        try:
            async with asyncio.timeout(self._longest_s):
                return await sender.send(message)
        except TimeoutError:
            raise NotDelivered("timeout") from None

    async def _postpone(self, delivery: Delivery, reason: str) -> None:
        pause = next_pause(delivery.attempts)
        if pause is None:
            await self._fail(delivery, reason)
            return
        await self._db.run(lambda tx: deliveries.postpone(tx, delivery, pause=pause, reason=reason))
        self._figures.postponed.labels(delivery.channel.value).inc()

    async def _fail(self, delivery: Delivery, reason: str) -> None:
        await self._recorder.submit(Ended(delivery=delivery, status=FAILED, reason=reason))

    async def _forget(self, delivery: Delivery) -> None:
        device_id = delivery.device_id
        if device_id is not None:
            await self._db.run(
                lambda tx: people.forget_device(tx, delivery.user_id, device_id=device_id)
            )

    async def _record(self, ended: Sequence[Ended]) -> list[None]:
        await self._db.run(lambda tx: record(tx, ended, held=False))
        self._figures.count(ended)
        return [None] * len(ended)


def _refuse_unwanted(delivery: Delivery, *, chosen: Preferences) -> None:
    """Refuse to send what its reader has switched off since it was queued. Nobody can switch off
    security, nor codes, which go where they were asked for.

    Raises:
        Undeliverable: it is not wanted any more.
    """
    category = Category(delivery.category)
    if category is not Category.SECURITY and not chosen.wants(category, delivery.channel):
        raise Undeliverable("switched_off")
