"""An event as a Kafka message: CloudEvents 1.0 in structured JSON, on the topic of its subject."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from guilder.kernel.ids import EventId, UserId
from guilder.platform.bus import Event
from guilder.platform.origin import Origin

CONTENT_TYPE: Final = "application/cloudevents+json; charset=UTF-8"
EVERY_TOPIC: Final = "^[a-z0-9-]+-events$"
_TOPICS: Final = {"user": "identity-events", "kyc": "customer-events", "person": "customer-events"}


class CloudEvent(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The envelope. What follows ``data`` are extension attributes of ours."""

    specversion: str
    id: UUID
    source: str
    type: str
    time: datetime
    datacontenttype: str
    partitionkey: str
    data: dict[str, Any]
    actorid: UUID | None = None
    requestid: str | None = None
    traceid: str | None = None
    outboxtransaction: str
    outboxposition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An event with where it stands in the outbox."""

    event: Event
    transaction: str
    position: int


def topic_of(type_: str) -> str:
    """``com.guilder.transaction.completed`` goes to ``transaction-events``."""
    noun = type_.split(".")[2]
    return _TOPICS.get(noun, f"{noun.replace('_', '-')}-events")


def topics_of(types: Iterable[str] | None) -> list[str]:
    """The topics on which these types are heard; None: a pattern of all."""
    return [EVERY_TOPIC] if types is None else sorted({topic_of(type_) for type_ in types})


def encoded(sent: Sent) -> bytes:
    """The message's value."""
    event, origin = sent.event, sent.event.origin
    return msgspec.json.encode(
        CloudEvent(
            specversion="1.0",
            id=event.id,
            source=f"/guilder/{event.type.split('.')[2]}",
            type=event.type,
            time=event.time,
            datacontenttype="application/json",
            partitionkey=event.key,
            data=dict(event.data),
            actorid=origin.actor_id,
            requestid=origin.request_id,
            traceid=origin.trace_id,
            outboxtransaction=sent.transaction,
            outboxposition=sent.position,
        )
    )


def decoded(value: bytes) -> Sent:
    """What `encoded` made.

    Raises:
        ValueError: it is something else.
    """
    read = msgspec.json.decode(value, type=CloudEvent)
    return Sent(
        event=Event(
            id=EventId(read.id),
            type=read.type,
            key=read.partitionkey,
            time=read.time,
            data=read.data,
            origin=Origin(
                None if read.actorid is None else UserId(read.actorid),
                read.requestid,
                read.traceid,
            ),
        ),
        transaction=read.outboxtransaction,
        position=read.outboxposition,
    )
