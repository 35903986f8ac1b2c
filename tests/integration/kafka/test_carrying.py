"""Events over Kafka: each is heard once and in order, whoever is killed on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer

from guilder.platform import outbox
from guilder.platform.bus import Bus, Event, Start, Subscription
from guilder.platform.bus.positions import KAFKA, join
from guilder.platform.db import Database, Tx
from guilder.platform.kafka.cloud_events import topic_of
from guilder.platform.kafka.feeding import KafkaBus
from guilder.platform.origin import Origin
from tests.support.database import OwnDatabase
from tests.support.kafka_notebook import kafka_worker
from tests.support.notebook import IMPATIENT, drained, notes, numbered, taking_notes
from tests.support.waiting import until

POINTS = ["outbox.before_send", "outbox.after_send", "bus.after_commit"]
Heard = dict[str, list[int]]


def new_type() -> str:
    """A type, and so a topic, that no other test has."""
    return f"com.guilder.t{uuid4().hex[:12]}.happened"


def listener(type_: str, **more: object) -> Subscription:
    return taking_notes(type_.split(".")[2], types=frozenset({type_}), starts=Start.NOW, **more)


async def publish(db: Database, type_: str, key: str, *numbers: int) -> None:
    for number in numbers:
        event = numbered(key, number, type_=type_)
        await db.run(lambda tx, event=event: outbox.append(tx, [event]))


async def all_heard(db: Database, group: str, expected: Heard) -> None:
    async def heard() -> bool:
        return sum(map(len, (await notes(db, group)).values())) >= sum(map(len, expected.values()))

    await until(heard, "everything is heard")


@asynccontextmanager
async def carrying(db: Database, brokers: str, *listeners: Subscription) -> AsyncIterator[None]:
    """Relay and feed as long as the block lasts. The listeners hear what commits from now on."""
    for heard_by in listeners:
        await db.run(lambda tx, heard_by=heard_by: join(tx, subscription=heard_by, feed=KAFKA))
    bus = KafkaBus(db, listeners, bootstrap=brokers, patience=IMPATIENT)
    running = asyncio.create_task(bus.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def finish(process: subprocess.Popen[str]) -> None:
    process.kill()
    await asyncio.to_thread(process.communicate)


async def test_every_event_is_heard_once_in_the_order_of_its_key(
    house: OwnDatabase, db: Database, brokers: str
):
    type_ = new_type()
    heard_by = listener(type_, most=7)
    expected = {key: list(range(20)) for key in ("anna", "ben", "cleo")}

    async with carrying(db, brokers, heard_by), carrying(db, brokers, heard_by):
        await asyncio.gather(*(publish(db, type_, key, *range(20)) for key in expected))
        await all_heard(db, heard_by.group, expected)

    assert await notes(db, heard_by.group) == expected


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_on_the_way_is_succeeded_without_loss_or_double(
    house: OwnDatabase, db: Database, brokers: str, point: str
):
    type_ = new_type()
    heard_by = listener(type_)
    await db.run(lambda tx: join(tx, subscription=heard_by))
    await publish(db, type_, "anna", 1, 2, 3)
    worker = {"brokers": brokers, "group": heard_by.group, "type_": type_}

    killed = kafka_worker(house.url(), **worker, failing=f"{point}=kill")
    status = await asyncio.to_thread(killed.wait, 60)
    await finish(killed)
    successor = kafka_worker(house.url(), **worker)
    await publish(db, type_, "anna", 4)
    await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4]})
    await publish(db, type_, "ben", 1)
    await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4], "ben": [1]})
    await finish(successor)

    assert status == -signal.SIGKILL
    assert await notes(db, heard_by.group) == {"anna": [1, 2, 3, 4], "ben": [1]}


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_frozen_on_the_way_is_replaced_and_doubles_nothing_when_it_wakes(
    house: OwnDatabase, db: Database, brokers: str, point: str
):
    type_ = new_type()
    heard_by = listener(type_)
    await db.run(lambda tx: join(tx, subscription=heard_by))
    await publish(db, type_, "anna", 1, 2, 3)
    worker = {"brokers": brokers, "group": heard_by.group, "type_": type_}
    frozen = kafka_worker(house.url(), **worker, failing=f"{point}=hit:1:sleep:1500")

    async def is_there() -> bool:
        return point in await asyncio.to_thread(frozen.stderr.readline)

    await until(is_there, "the worker has come to the point")
    os.kill(frozen.pid, signal.SIGSTOP)
    successor = kafka_worker(house.url(), **worker)
    await publish(db, type_, "anna", 4)
    await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4]})
    os.kill(frozen.pid, signal.SIGCONT)
    await publish(db, type_, "ben", 1)
    await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4], "ben": [1]})
    await finish(successor)
    await publish(db, type_, "ben", 2)
    await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4], "ben": [1, 2]})
    await finish(frozen)

    assert await notes(db, heard_by.group) == {"anna": [1, 2, 3, 4], "ben": [1, 2]}


async def test_a_message_is_a_cloud_event_on_the_topic_of_its_subject(
    house: OwnDatabase, db: Database, brokers: str
):
    type_ = new_type()
    heard_by = listener(type_)
    async with carrying(db, brokers, heard_by):
        event = outbox.Outgoing(
            numbered("anna", 1).id, type_, "anna", '{"number": 1}', Origin(None, "req-1", "ab" * 16)
        )
        await db.run(lambda tx: outbox.append(tx, [event]))
        await all_heard(db, heard_by.group, {"anna": [1]})

    message = await asyncio.to_thread(first_message, brokers, topic_of(type_))
    told = json.loads(message.value())

    assert message.key() == b"anna"
    assert dict(message.headers())["content-type"].startswith(b"application/cloudevents+json")
    assert told.pop("time")
    assert told.pop("outboxtransaction")
    assert told.pop("outboxposition")
    assert told == {
        "specversion": "1.0",
        "id": str(event.id),
        "source": f"/guilder/{type_.split('.')[2]}",
        "type": type_,
        "datacontenttype": "application/json",
        "partitionkey": "anna",
        "data": {"number": 1},
        "requestid": "req-1",
        "traceid": "ab" * 16,
    }


def first_message(brokers: str, topic: str):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    try:
        (message,) = consumer.consume(1, 30)
        return message
    finally:
        consumer.close()


async def test_what_is_no_event_is_passed_over(house: OwnDatabase, db: Database, brokers: str):
    type_ = new_type()
    heard_by = listener(type_)
    producer = Producer({"bootstrap.servers": brokers})
    for value in (b"", b"{}", b"\xff", b'{"specversion": "1.0"}'):
        producer.produce(topic_of(type_), value)
    await asyncio.to_thread(producer.flush, 30)

    async with carrying(db, brokers, heard_by):
        await publish(db, type_, "anna", 1)
        await all_heard(db, heard_by.group, {"anna": [1]})

    assert await notes(db, heard_by.group) == {"anna": [1]}


async def test_an_event_that_fails_is_parked_and_tried_again_in_its_order(
    house: OwnDatabase, db: Database, brokers: str
):
    type_ = new_type()
    tried = 0

    async def fail_twice(tx: object, events: object) -> None:
        nonlocal tried
        if any((event.key, event.data["number"]) == ("anna", 1) for event in events):
            tried += 1
            if tried <= 2:
                raise ValueError

    heard_by = listener(type_, before=fail_twice)
    async with carrying(db, brokers, heard_by):
        await publish(db, type_, "anna", 1, 2, 3)
        await publish(db, type_, "ben", 1)
        await all_heard(db, heard_by.group, {"anna": [1, 2, 3], "ben": [1]})

    assert await notes(db, heard_by.group) == {"anna": [1, 2, 3], "ben": [1]}


async def test_a_change_of_the_bus_there_and_back_loses_and_doubles_nothing(
    house: OwnDatabase, db: Database, brokers: str
):
    type_ = new_type()
    heard_by = listener(type_)
    here = Bus(db, [heard_by])
    await here.join()

    await publish(db, type_, "anna", 1, 2)
    await drained(here, heard_by)
    await publish(db, type_, "anna", 3)
    async with carrying(db, brokers, heard_by):
        await all_heard(db, heard_by.group, {"anna": [1, 2, 3]})
        await publish(db, type_, "anna", 4)
        await all_heard(db, heard_by.group, {"anna": [1, 2, 3, 4]})
    await publish(db, type_, "anna", 5)
    await drained(here, heard_by)

    assert await notes(db, heard_by.group) == {"anna": [1, 2, 3, 4, 5]}


async def test_bad_keys_in_front_of_a_good_one_do_not_hold_it_up(
    house: OwnDatabase, db: Database, brokers: str
):
    async def refuse_bad_keys(_: Tx, events: Sequence[Event]) -> None:
        if any(event.key.startswith("bad") for event in events):
            raise ValueError

    type_ = new_type()
    heard_by = listener(type_, most=8, before=refuse_bad_keys)

    async with carrying(db, brokers, heard_by):
        for number in range(24):
            await publish(db, type_, f"bad-{number}", 1)
        await publish(db, type_, "good", 1)
        await all_heard(db, heard_by.group, {"good": [1]})

    assert await notes(db, heard_by.group) == {"good": [1]}
