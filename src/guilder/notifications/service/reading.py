"""What people read and choose: their feed, their preferences, their devices."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.notifications.api import (
    DeviceId,
    DeviceNotFound,
    NoticeNotFound,
    TooManyDevices,
    Undeliverable,
)
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import Device, FeedItem, LaidOut
from guilder.notifications.events import (
    ChosenHabits,
    ChosenPreferences,
    DeviceAdded,
    DeviceRemoved,
    HabitsChanged,
    PreferencesChanged,
)
from guilder.notifications.service.addresses import details_of
from guilder.notifications.service.codes import in_clear, openable
from guilder.notifications.service.wording import Wording, Writer
from guilder.notifications.store import feed, people, sandbox
from guilder.platform import outbox
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.ephemeral import Openable
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once

MOST_DEVICES = 20
_OVER = "\N{HORIZONTAL ELLIPSIS}"
"""What stands in the sandbox outbox for a code that was used or whose time is over."""


class ShownItem(Struct, frozen=True, kw_only=True):
    """A notice in its reader's words."""

    item: FeedItem
    title: str
    body: str


class FeedReading:
    """A person's feed.

    Notices are put into words when they are read, so that being told costs next to nothing and a
    change of language changes all of them.
    """

    def __init__(self, db: Database, *, writer: Writer, default: Preferences) -> None:
        self._db = db
        self._writer = writer
        self._default = default

    async def page(self, user_id: UserId, *, before: int, limit: int) -> list[ShownItem]:
        """Notices numbered below ``before``, newest first."""

        async def read(tx: Tx) -> list[ShownItem]:
            items = await feed.page(tx, user_id, before=before, limit=limit)
            chosen = await self.chosen(tx, user_id)
            return [self.show(item, chosen) for item in items]

        return await self._db.run(read)

    async def chosen(self, tx: Tx, user_id: UserId) -> Preferences:
        """In which language, and in which time zone, this person reads."""
        readers = await people.readers(tx, [user_id], default=self._default)
        return readers[user_id].preferences

    def show(self, item: FeedItem, chosen: Preferences) -> ShownItem:
        """A notice in words."""
        title, body = self._writer.headline(
            item.template, item.data, language=chosen.language, time_zone=chosen.time_zone
        )
        return ShownItem(item=item, title=title, body=body)

    async def count_unread(self, user_id: UserId) -> int:
        """How many were not read yet."""
        return await self._db.run(lambda tx: feed.count_unread(tx, user_id))

    async def read(self, user_id: UserId, *, notice_id: UUID) -> ShownItem:
        """Mark one as read, and return it. Repeating it changes nothing.

        Raises:
            NoticeNotFound: the person has none with this id.
        """

        async def mark(tx: Tx) -> ShownItem:
            item = await feed.read(tx, user_id, notice_id=notice_id)
            if item is None:
                if await feed.is_there(tx, notice_id):
                    raise NoticeNotFound.of_another()
                raise NoticeNotFound
            return self.show(item, await self.chosen(tx, user_id))

        return await self._db.run(mark)

    async def read_all(self, user_id: UserId) -> None:
        """Mark every notice as read."""
        await self._db.run(lambda tx: feed.read_all(tx, user_id))


class SandboxReading:
    """What would have been sent to people, in the words in which they would read it now."""

    def __init__(
        self, db: Database, *, writer: Writer, keys: OuterKeys, default: Preferences
    ) -> None:
        self._db = db
        self._writer = writer
        self._keys = keys
        self._default = default

    async def page(
        self, user_id: UserId, *, before: UUID, limit: int, to_others: bool = False
    ) -> list[tuple[LaidOut, Wording]]:
        """Messages to this person in the sandbox outbox, newest first.

        ``to_others``: somebody else reads them, for whom those of security are left out.
        """

        async def read(tx: Tx) -> list[tuple[LaidOut, Wording]]:
            found = await sandbox.laid_out(
                tx, user_id, before=before, limit=limit, with_security=not to_others
            )
            readers = await people.readers(tx, [user_id], default=self._default)
            contacts = await people.contacts(tx, [user_id])
            name = self._name(user_id, contacts.get(user_id))
            chosen = readers[user_id].preferences
            codes = await openable(tx, [message.data for message in found], keys=self._keys)
            return [
                (message, self._worded(message, chosen, name=name, codes=codes))
                for message in found
            ]

        return await self._db.run(read)

    def _name(self, user_id: UserId, sealed: bytes | None) -> str:
        try:
            return details_of(user_id, sealed, keys=self._keys).full_name
        except Undeliverable:
            return ""

    def _worded(
        self, message: LaidOut, chosen: Preferences, *, name: str, codes: Openable
    ) -> Wording:
        try:
            values = in_clear(message.data, user_id=message.user_id, codes=codes)
        except Undeliverable:
            values = {**message.data, "code": _OVER}
        return self._writer.write(
            message.template,
            values,
            language=chosen.language,
            time_zone=chosen.time_zone,
            name=name,
        )


class Choosing:
    """What a person wants to hear, and where. ``default`` is for who chose nothing."""

    def __init__(self, db: Database, *, default: Preferences) -> None:
        self._db = db
        self._default = default

    @property
    def default(self) -> Preferences:
        """The preferences of somebody who chose nothing."""
        return self._default

    async def preferences(self, user_id: UserId) -> Preferences:
        """What holds for this person."""
        readers = await self._db.run(
            lambda tx: people.readers(tx, [user_id], default=self._default)
        )
        return readers[user_id].preferences

    async def choose(self, user_id: UserId, preferences: Preferences) -> None:
        """Replace what the person chose."""

        async def choose(tx: Tx) -> None:
            await people.lock_preferences(tx, user_id)
            before = (await people.readers(tx, [user_id], default=self._default))[user_id]
            await people.put_preferences(tx, user_id, preferences)
            if before.preferences != preferences:
                fact = PreferencesChanged(
                    user_id=user_id,
                    before=_chosen(before.preferences),
                    after=_chosen(preferences),
                    personal=HabitsChanged(
                        before=_habits(before.preferences), after=_habits(preferences)
                    ),
                )
                await _tell(tx, fact)

        await self._db.run(choose)

    async def devices(self, user_id: UserId) -> list[Device]:
        """Where this person's push messages go."""
        return await self._db.run(lambda tx: people.devices(tx, user_id))

    async def add_device(self, user_id: UserId, *, token: str, label: str) -> Device:
        """Register an app on a device by its push token. It belongs to one person at a time.

        Raises:
            TooManyDevices: the person has as many as one may have.
        """
        device_id = DeviceId(new_id())

        async def add(tx: Tx) -> Device:
            if await people.count_other_devices(tx, user_id, token=token) >= MOST_DEVICES:
                raise TooManyDevices
            held = await people.holder(tx, token=token)
            device = await people.put_device(
                tx, user_id, device_id=device_id, token=token, label=label
            )
            if held is not None and held[1] != user_id:
                await _tell(tx, DeviceRemoved(device_id=held[0], user_id=held[1]))
            if held is None or held[1] != user_id:
                await _tell(tx, DeviceAdded(device_id=device.id, user_id=user_id))
            return device

        return await self._db.run(add)

    async def forget_device(self, user_id: UserId, *, device_id: UUID) -> None:
        """Send no more push messages to a device.

        Raises:
            DeviceNotFound: it is not this person's.
        """

        async def forget(tx: Tx) -> None:
            if not await people.forget_device(tx, user_id, device_id=device_id):
                if await people.is_device_there(tx, device_id):
                    raise DeviceNotFound.of_another()
                raise DeviceNotFound
            await _tell(tx, DeviceRemoved(device_id=device_id, user_id=user_id))

        await run_once(self._db, forget)


async def _tell(tx: Tx, fact: PreferencesChanged | DeviceAdded | DeviceRemoved) -> None:
    await outbox.append(tx, [outbox.outgoing(fact, key=str(fact.user_id))])


def _chosen(preferences: Preferences) -> ChosenPreferences:
    return ChosenPreferences(channels=people.by_category(preferences.choices))


def _habits(preferences: Preferences) -> ChosenHabits:
    quiet = preferences.quiet
    return ChosenHabits(
        language=preferences.language,
        time_zone=preferences.time_zone,
        quiet_from=None if quiet is None else quiet.start,
        quiet_until=None if quiet is None else quiet.end,
    )
