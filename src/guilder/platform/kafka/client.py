"""Kafka's client behind coroutines: each blocking call runs on a thread of its own producer or
consumer, never in the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

Result = TypeVar("Result")
Options = Mapping[str, str]

_PATIENCE_MS: Final = 30_000
_REFRESH_MS: Final = 2_000
_SESSION_MS: Final = 10_000


class NotSent(Exception):
    """Kafka did not take all messages; some of them may have arrived."""


class Sender:
    """An idempotent producer: what it sends arrives once and in order, while it lives."""

    def __init__(self, bootstrap: str, *, options: Options) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-relay")
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "guilder-relay",
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": _PATIENCE_MS,
                **options,
            }
        )

    async def send(self, messages: Sequence[tuple[str, str, bytes]], *, kind: str) -> None:
        """Send (topic, key, value) in order, and return once every replica in sync has them.

        Raises:
            NotSent: some were not acknowledged in time. This sender is of no use any more.
        """
        await _on(self._thread, lambda: self._send(messages, kind=kind))

    def _send(self, messages: Sequence[tuple[str, str, bytes]], *, kind: str) -> None:
        failures: list[KafkaError] = []

        def told(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for topic, key, value in messages:
                self._producer.produce(
                    topic, value, key, headers={"content-type": kind}, on_delivery=told
                )
            left = self._producer.flush(_PATIENCE_MS / 1000)
        except (KafkaException, BufferError) as error:
            raise NotSent(str(error)) from error
        if failures or left:
            raise NotSent(str(failures[0]) if failures else f"{left} were not acknowledged")

    async def close(self) -> None:
        """Forget what was not sent."""
        await _on(self._thread, self._producer.purge)
        self._thread.shutdown(wait=False)


class Receiver:
    """A member of a consumer group, which says itself how far it has come."""

    def __init__(
        self, bootstrap: str, *, group: str, topics: Sequence[str], options: Options
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"kafka-{group}")
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "client.id": "guilder",
                "group.id": f"guilder.{group}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": _SESSION_MS,
                "heartbeat.interval.ms": _SESSION_MS // 5,
                "topic.metadata.refresh.interval.ms": _REFRESH_MS,
                "allow.auto.create.topics": True,
                **options,
            }
        )
        self._consumer.subscribe(list(topics))
        self._keep = partial(self._consumer.commit, asynchronous=False)

    async def next(self, *, at_most: int, wait_s: float) -> list[bytes]:
        """The next messages' values; none when there were none for a while."""
        found = await _on(self._thread, lambda: self._consumer.consume(at_most, wait_s))
        values = (message.value() for message in found if message.error() is None)
        return [value for value in values if isinstance(value, bytes)]

    async def acknowledge(self) -> None:
        """All that `next` gave is done with. Where that is lost it is given again."""
        await _on(self._thread, self._acknowledge)

    def _acknowledge(self) -> None:
        try:
            self._keep()
        except KafkaException as failure:
            # nothing new, or another member has it now: either is as good
            if failure.args[0].fatal():
                raise

    async def close(self) -> None:
        """Leave the group, so that others take over at once."""
        await _on(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)


async def _on(thread: ThreadPoolExecutor, call: Callable[[], Result]) -> Result:
    return await asyncio.get_running_loop().run_in_executor(thread, call)
