"""What people read and choose: their feed, their preferences, their devices."""

from __future__ import annotations

from uuid import UUID

from guilder.kernel.ids import UserId
from guilder.notifications.api import (
    DeviceId,
    DeviceNotFound,
    NoticeNotFound,
    TooManyDevices,
)
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import Device, FeedItem, LaidOut
from guilder.notifications.store import deliveries, feed, people
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id

MOST_DEVICES = 20


class FeedReading:
    """A person's feed, and in a sandbox what would have been sent to them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, user_id: UserId, *, before: int, limit: int) -> list[FeedItem]:
        """Notices numbered below ``before``, newest first."""
        return await self._db.run(lambda tx: feed.page(tx, user_id, before=before, limit=limit))

    async def count_unread(self, user_id: UserId) -> int:
        """How many were not read yet."""
        return await self._db.run(lambda tx: feed.count_unread(tx, user_id))

    async def read(self, user_id: UserId, *, notice_id: UUID) -> FeedItem:
        """Mark one as read, and return it. Repeating it changes nothing.

        Raises:
            NoticeNotFound: the person has none with this id.
        """
        item = await self._db.run(lambda tx: feed.read(tx, user_id, notice_id=notice_id))
        if item is None:
            raise NoticeNotFound
        return item

    async def read_all(self, user_id: UserId) -> None:
        """Mark every notice as read."""
        await self._db.run(lambda tx: feed.read_all(tx, user_id))

    async def laid_out(self, user_id: UserId, *, before: UUID, limit: int) -> list[LaidOut]:
        """Messages to this person in the sandbox outbox, newest first."""
        return await self._db.run(
            lambda tx: deliveries.laid_out(tx, user_id, before=before, limit=limit)
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
        await self._db.run(lambda tx: people.put_preferences(tx, user_id, preferences))

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
            return await people.put_device(
                tx, user_id, device_id=device_id, token=token, label=label
            )

        return await self._db.run(add)

    async def forget_device(self, user_id: UserId, *, device_id: UUID) -> None:
        """Send no more push messages to a device.

        Raises:
            DeviceNotFound: it is not this person's.
        """
        if not await self._db.run(
            lambda tx: people.forget_device(tx, user_id, device_id=device_id)
        ):
            raise DeviceNotFound
