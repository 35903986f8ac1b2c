"""Records and their chain: what an event becomes, and the bytes that are hashed.

The bytes are laid out so that PostgreSQL alone recomputes them: integers are 8-byte big-endian,
times are microseconds since 1970, and everything of variable length or that may be absent follows
its 4-byte length, which is -1 where it is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from struct import Struct as Layout
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import Struct

from guilder.kernel.clock import epoch_microseconds
from guilder.kernel.seals import LENGTH

GENESIS: Final = bytes(32)
"""The hash before a chain's first record."""

PREFIX: Final = "com.guilder."
_HEAD: Final = Layout(">32sqq16sqq").pack
_ABSENT: Final = LENGTH(-1)
_to_json: Final = msgspec.json.Encoder().encode


class Draft(Struct, frozen=True, kw_only=True):
    """A record before it has its place in a chain. The JSON texts are stored as they are."""

    event_id: UUID
    actor_id: UUID | None
    action: str
    subject: str
    key: str
    request_id: str | None
    trace_id: str | None
    created_at: datetime
    before: str | None
    after: str | None
    details: str
    person_id: UUID | None = None
    personal: bytes | None = None


class Placed(Struct, frozen=True, kw_only=True):
    """A record in its place."""

    sequence: int
    hash: bytes
    draft: Draft


def action_of(event_type: str) -> str:
    """What was done: an event's type without its prefix."""
    return event_type.removeprefix(PREFIX)


def subject_of(event_type: str, key: str, data: Mapping[str, Any]) -> str:
    """What it was done to: what the type names (``transaction_id`` of ``transaction.completed``).

    Where the event does not say, it is the event's key.
    """
    noun = action_of(event_type).partition(".")[0]
    named = data.get(f"{noun}_id")
    return named if isinstance(named, str) and named else key


def parted(data: Mapping[str, Any]) -> tuple[str | None, str | None, str]:
    """The JSON texts of ``before`` and ``after``, where the event has them, and of the rest."""
    rest = dict(data)
    sides: list[str | None] = []
    for name in ("before", "after"):
        side = rest.get(name)
        if isinstance(side, Mapping):
            del rest[name]
            sides.append(_to_json(side).decode())
        else:
            sides.append(None)
    return sides[0], sides[1], _to_json(rest).decode()


def placed(
    drafts: Iterable[Draft], *, chain: int, sequence: int, previous: bytes, recorded_at: datetime
) -> list[Placed]:
    """The drafts after record ``sequence`` of a chain, whose hash is ``previous``, in order."""
    recorded_us = epoch_microseconds(recorded_at)
    found = []
    for draft in drafts:
        sequence += 1
        previous = _hash(
            draft, chain=chain, sequence=sequence, previous=previous, recorded_us=recorded_us
        )
        found.append(Placed(sequence=sequence, hash=previous, draft=draft))
    return found


def _hash(draft: Draft, *, chain: int, sequence: int, previous: bytes, recorded_us: int) -> bytes:
    head = _HEAD(
        previous,
        chain,
        sequence,
        draft.event_id.bytes,
        epoch_microseconds(draft.created_at),
        recorded_us,
    )
    return sha256(
        b"".join(
            (
                head,
                _sized(None if draft.actor_id is None else draft.actor_id.bytes),
                _text(draft.action),
                _text(draft.subject),
                _text(draft.key),
                _text(draft.request_id),
                _text(draft.trace_id),
                _text(draft.before),
                _text(draft.after),
                _text(draft.details),
                _sized(None if draft.person_id is None else draft.person_id.bytes),
                _sized(draft.personal),
            )
        )
    ).digest()


def _text(value: str | None) -> bytes:
    return _ABSENT if value is None else _sized(value.encode())


def _sized(value: bytes | None) -> bytes:
    return _ABSENT if value is None else LENGTH(len(value)) + value


def data_key_seal(
    *,
    person_id: UUID,
    key_id: UUID,
    wrapped: bytes | None,
    created_at: datetime,
    erased_at: datetime | None,
) -> bytes:
    """Over every column of a person's data key."""
    times = Layout(">qq").pack(
        epoch_microseconds(created_at),
        -1 if erased_at is None else epoch_microseconds(erased_at),
    )
    return sha256(person_id.bytes + key_id.bytes + times + _sized(wrapped)).digest()
