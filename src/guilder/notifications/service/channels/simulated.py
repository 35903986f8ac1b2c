"""Channels that reach nobody: the sandbox outbox, and a copy of everything in the sink."""

from __future__ import annotations

from collections.abc import Sequence

from guilder.notifications.api import Message, Sender
from guilder.notifications.domain.records import Letter
from guilder.notifications.store import sandbox
from guilder.platform.db import Database, Tx
from guilder.platform.sink import Sink


class SandboxOutbox:
    """Lays messages out to be read, each once, however often it is sent."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def lay_out(self, tx: Tx, letters: Sequence[Letter]) -> None:
        """Put messages into the outbox. They are put into words when somebody reads them."""
        await sandbox.lay_out(tx, letters)

    async def send(self, message: Message) -> str:
        """Put one message into the outbox."""
        letter = Letter(
            id=message.id, user_id=message.user_id, channel=message.channel, to=message.to
        )
        await self._db.run(lambda tx: self.lay_out(tx, [letter]))
        return reference(letter)

    async def close(self) -> None:
        """There is nothing to give up."""


def reference(letter: Letter) -> str:
    """The sandbox's name for a message."""
    return f"sandbox:{letter.id}"


class Sunk:
    """Another sender, with each message that it took as a line in the sink."""

    def __init__(self, sender: Sender, *, sink: Sink) -> None:
        self._sender = sender
        self._sink = sink

    async def send(self, message: Message) -> str:
        """Send the message and write its line.

        Raises:
            NotDelivered: as the sender says.
            Undeliverable: as the sender says.
        """
        reference = await self._sender.send(message)
        await self._sink.write(
            message.channel.value,
            id=str(message.id),
            user_id=str(message.user_id),
            to=message.to,
            subject=message.title,
            text=message.text,
            short=message.short,
        )
        return reference

    async def close(self) -> None:
        """Close the sender."""
        await self._sender.close()
