"""Live feeds: one listener in a process, which reads for all open streams at once.

A stream is a cursor into its owner's feed and a short queue. Only as much is read as the queue has
room for, so a slow reader costs no memory: the rest waits in the database, as it does for somebody
who was away. Replaying and living are the same thing, read from the same rows.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

import structlog

from guilder.kernel.errors import Overloaded
from guilder.kernel.ids import UserId
from guilder.notifications.api import TooManyStreams
from guilder.notifications.domain.preferences import Preferences
from guilder.notifications.domain.records import FeedItem
from guilder.notifications.service.reading import FeedReading, ShownItem
from guilder.notifications.store import feed as store
from guilder.platform.db import Database, Tx

HEARTBEAT_S: Final = 15.0
MOST_STREAMS: Final = 2_000
MOST_OF_ONE: Final = 10
_ROOM: Final = 32
_LOOK_EVERY_S: Final = 0.5
_PAUSE_S: Final = 0.05
_PAUSE_AFTER_FAILURE_S: Final = 1.0

_log = structlog.get_logger(__name__)


class Stream:
    """One open stream: where it has come to, and what it has not passed on yet."""

    __slots__ = ("__weakref__", "chosen", "cursor", "user_id", "waiting", "woken")

    def __init__(self, user_id: UserId, cursor: int, *, chosen: Preferences) -> None:
        self.user_id = user_id
        self.chosen = chosen
        self.cursor = cursor
        self.waiting: deque[FeedItem] = deque()
        self.woken = asyncio.Event()

    @property
    def room(self) -> int:
        """How many more items it takes just now."""
        return _ROOM - len(self.waiting)

    def push(self, item: FeedItem) -> None:
        """Queue the next item."""
        self.cursor = item.sequence
        self.waiting.append(item)
        self.woken.set()


class StreamHub:
    """All streams of this process. It listens while there are any."""

    def __init__(
        self,
        db: Database,
        *,
        feed: FeedReading,
        heartbeat_s: float = HEARTBEAT_S,
        most: int = MOST_STREAMS,
        most_of_one: int = MOST_OF_ONE,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._feed = feed
        self._heartbeat_s = heartbeat_s
        self._most = most
        self._most_of_one = most_of_one
        self._now = now
        self._streams: set[Stream] = set()
        self._taken = 0
        self._of_one: Counter[UserId] = Counter()
        self._woken = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None
        self._is_closed = False

    async def open(self, user_id: UserId, *, after: int | None) -> Stream:
        """A stream of what comes after a sequence, or of what comes from now on.

        Raises:
            TooManyStreams: the person has as many as one may have.
            Overloaded: the process has as many as it takes, or is about to end.
        """
        if self._is_closed or self._taken >= self._most:
            raise Overloaded(retry_after_s=5)
        if self._of_one[user_id] >= self._most_of_one:
            raise TooManyStreams
        self._take_place(user_id)

        async def look(tx: Tx) -> Stream:
            last = await store.last_sequence(tx, user_id)
            chosen = await self._feed.chosen(tx, user_id)
            return Stream(user_id, last if after is None else min(after, last), chosen=chosen)

        try:
            stream = await self._db.run(look)
        except BaseException:
            self._give_back(user_id)
            raise
        # whether it was followed to its end or never: once nobody has it, its place is free
        weakref.finalize(stream, self._give_back, user_id).atexit = False
        return stream

    async def follow(
        self, stream: Stream, *, until: float
    ) -> AsyncGenerator[ShownItem | None, None]:
        """The stream's items as they come, and None for each heartbeat without one.

        It ends at ``until`` (Unix seconds), when the caller's token does, or with the process.
        """
        self._join(stream)
        try:
            while not self._is_closed and self._now() < until:
                if stream.waiting:
                    was_full = stream.room == 0
                    yield self._feed.show(stream.waiting.popleft(), stream.chosen)
                    if was_full:
                        self._woken.set()
                    continue
                stream.woken.clear()
                wait_s = min(self._heartbeat_s, until - self._now())
                try:
                    async with asyncio.timeout(wait_s):
                        await stream.woken.wait()
                except TimeoutError:
                    yield None
        finally:
            await self._leave(stream)

    def close(self) -> None:
        """End every stream; whoever reads one opens it again elsewhere."""
        self._is_closed = True
        for stream in self._streams:
            stream.woken.set()

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def _take_place(self, user_id: UserId) -> None:
        self._taken += 1
        self._of_one[user_id] += 1

    def _give_back(self, user_id: UserId) -> None:
        self._taken -= 1
        self._of_one[user_id] -= 1
        if not self._of_one[user_id]:
            del self._of_one[user_id]

    def _join(self, stream: Stream) -> None:
        self._streams.add(stream)
        self._woken.set()
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())

    async def _leave(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if not self._streams and self._listening is not None:
            listening, self._listening = self._listening, None
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._db.listen(store.CHANNEL) as notified:
                    await self._keep_passing_on(notified)
            except Exception:  # noqa: BLE001 - the database went away: streams stay and wait for it
                _log.exception("notifications.listening_failed")
            await asyncio.sleep(_PAUSE_AFTER_FAILURE_S)

    async def _keep_passing_on(self, notified: asyncio.Event) -> None:
        """Read when somebody is told something, when there is room again, and now and then."""
        while True:
            notified.clear()
            self._woken.clear()
            is_more = await self._pass_on()
            # what comes at the same time is read together
            await asyncio.sleep(_PAUSE_S)
            if not is_more:
                await _first_of(notified, self._woken, at_most_s=_LOOK_EVERY_S)

    async def _pass_on(self) -> bool:
        """Fill every queue that has room; whether one was filled to its end."""
        streams = [stream for stream in self._streams if stream.room]
        if not streams:
            return False
        cursors = [(stream.user_id, stream.cursor) for stream in streams]
        rooms = [stream.room for stream in streams]
        found = await self._db.run(lambda tx: store.since(tx, cursors, rooms=rooms))
        for place, item in found:
            if item.sequence > streams[place].cursor:
                streams[place].push(item)
        return any(count >= rooms[place] for place, count in Counter(p for p, _ in found).items())


async def _first_of(*events: asyncio.Event, at_most_s: float) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
