"""Staff and services send messages: to a person, never to an address of the sender's choice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.notifications.api import (
    Category,
    Channel,
    DeliveryId,
    MessageIdTaken,
    MessageNotFound,
    TemplateNotFound,
)
from guilder.notifications.domain.notices import TEMPLATES
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import Delivery
from guilder.notifications.domain.values import problems
from guilder.notifications.events import NotificationRequested
from guilder.notifications.service.newsroom import targets
from guilder.notifications.service.wording import Writer
from guilder.notifications.store import deliveries, people
from guilder.notifications.store.deliveries import NewDelivery
from guilder.notifications.store.people import Reader
from guilder.platform import origin, outbox
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id


class Sending:
    """Queues messages that somebody asks for. What people switched off stays off."""

    def __init__(
        self,
        db: Database,
        *,
        writer: Writer,
        default: Preferences,
        reachable: Collection[Channel],
    ) -> None:
        self._db = db
        self._writer = writer
        self._default = default
        self._reachable = frozenset(reachable)

    async def send(
        self,
        user_id: UserId,
        *,
        channel: Channel,
        template: str,
        values: Mapping[str, str],
        category: Category | None = None,
        message_id: UUID | None = None,
    ) -> list[Delivery]:
        """Queue a message, one for each device when it is a push; repeating an id is safe.

        A message that cannot or may not go out is recorded as suppressed, with the reason.

        Raises:
            TemplateNotFound: no template has this name.
            ValidationFailed: the template takes other values, or cannot say these.
            MessageIdTaken: the id is another message's.
        """
        _refuse_other_values(template, values)
        self._refuse_unsayable(template, values)
        kind = category or TEMPLATES[template].category
        first_id = DeliveryId(message_id or new_id())

        async def queue(tx: Tx) -> list[Delivery]:
            readers = await people.readers(tx, [user_id], default=self._default)
            now = await deliveries.database_time(tx)
            reader = readers[user_id]
            reason = self._objection(reader, channel=channel, category=kind)
            # a push with no device to go to is one record, as if of an email
            goals = [None] if reason else targets(reader, channel)
            due_at = reader.preferences.send_at(now, kind)
            wanted = [
                NewDelivery(
                    id=first_id if place == 0 else DeliveryId(new_id()),
                    user_id=user_id,
                    channel=channel,
                    device_id=goal,
                    template=template,
                    category=kind.value,
                    data=dict(values),
                    event_id=None,
                    due_at=due_at,
                    suppressed=reason,
                )
                for place, goal in enumerate(goals)
            ]
            there = await deliveries.one(tx, first_id)
            if there is not None:
                return [_same(there, wanted[0])]
            await deliveries.add(tx, wanted, origin=origin.current())
            fact = NotificationRequested(
                message_id=first_id,
                user_id=user_id,
                channel=channel.value,
                template=template,
                category=kind.value,
                suppressed=reason,
            )
            await outbox.append(tx, [outbox.outgoing(fact, key=str(user_id))])
            return await deliveries.several(tx, [new.id for new in wanted])

        return await self._db.run(queue)

    async def look(self, message_id: UUID) -> Delivery:
        """What has become of a message.

        Raises:
            MessageNotFound: there is none with this id.
        """
        delivery = await self._db.run(lambda tx: deliveries.one(tx, message_id))
        if delivery is None:
            raise MessageNotFound
        return delivery

    def _refuse_unsayable(self, template: str, values: Mapping[str, str]) -> None:
        """Refuse amounts, currencies and times that are none, before they are queued."""
        if found := problems(values):
            raise ValidationFailed(fields={f"values.{name}": why for name, why in found.items()})
        chosen = self._default
        try:
            self._writer.headline(
                template, values, language=chosen.language, time_zone=chosen.time_zone
            )
        except (ArithmeticError, LookupError, ValueError):
            reason = "has an amount, a currency or a time that is none"
            raise ValidationFailed(fields={"values": reason}) from None

    def _objection(self, reader: Reader, *, channel: Channel, category: Category) -> str | None:
        if channel not in self._reachable:
            return "no_provider"
        if not reader.preferences.wants(category, channel):
            return "switched_off"
        if not targets(reader, channel):
            return "no_address"
        return None


def _refuse_other_values(template: str, values: Mapping[str, str]) -> None:
    """Refuse values that the template does not take, or the lack of one that it does.

    Raises:
        TemplateNotFound: no template has this name.
        ValidationFailed: names each value that is missing or unknown.
    """
    if template not in TEMPLATES:
        raise TemplateNotFound
    fields = set(TEMPLATES[template].fields)
    problems = {f"values.{name}": "is required" for name in fields - set(values)}
    if set(values) - fields:
        problems["values"] = "has one that the template does not take"
    if problems:
        raise ValidationFailed(fields=problems)


def _same(there: Delivery, wanted: NewDelivery) -> Delivery:
    said = (there.user_id, there.channel, there.template, dict(there.data))
    if said != (wanted.user_id, wanted.channel, wanted.template, dict(wanted.data)):
        raise MessageIdTaken
    return there
