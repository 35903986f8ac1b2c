"""What audit needs of others, and what it tells about records and publications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from guilder.kernel.ids import EventId, UserId
from guilder.platform.db import Tx

AUDIT_READ = "audit:read"
"""The permission to read records."""


class LedgerHeads(Protocol):
    """Digests over the heads of the ledger's accounts.

    The digest of a period covers, for each account with entries recorded in it, the last of them:
    account, sequence and hash. As entries are chained, it covers every entry of the period.
    """

    async def of_period(
        self, tx: Tx, *, since: datetime | None, until: datetime
    ) -> tuple[int, bytes]:
        """How many accounts moved in a period, and the digest; ``since`` None is the beginning."""
        ...

    async def of_periods(
        self, tx: Tx, limits: Sequence[datetime | None]
    ) -> Mapping[datetime, tuple[int, bytes]]:
        """The same for many periods, each from one of ``limits`` to the next, by their ends.

        ``limits`` ascend; None, the beginning, comes first. Recomputed from the entries alone.
        """
        ...


class PersonalState(StrEnum):
    """What is known of the personal data in a record."""

    NONE = "none"
    READABLE = "readable"
    ERASED = "erased"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordView:
    """A record as staff read it. ``personal`` is None unless it is readable."""

    id: EventId
    actor_id: UserId | None
    action: str
    subject: str
    key: str
    created_at: datetime
    recorded_at: datetime
    request_id: str | None
    trace_id: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    details: Mapping[str, Any]
    person_id: UUID | None
    personal: Mapping[str, Any] | None
    personal_state: PersonalState
    chain: int
    sequence: int
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which records: those that match everything that is given. ``until`` itself is left out."""

    actor_id: UUID | None = None
    action: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    request_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page of records ended."""

    created_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What came of publishing: a new publication, or the last one where nothing has changed."""

    number: int
    is_new: bool
    records: int
    accounts: int
    covers_ledger: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrapped:
    """How many persons' keys were wrapped anew, and how many could not be, which the log names."""

    persons: int
    unreadable: int


class NotCopied(Exception):
    """The copy of the published heads elsewhere is behind; the folder here is complete."""


class Erasure(Protocol):
    """Destroys the keys of persons."""

    async def erase_person(self, person_id: UUID, *, reason: str) -> bool:
        """Make what audit holds of a person unreadable for good; whether that is new.

        Repeating it is safe. ``reason`` is recorded and must not itself name the person.
        """
        ...

    def pseudonym_of(self, claimed: str) -> UUID:
        """Under which id failed sign-ins with this email or phone, or from this address, stand."""
        ...


class Publishing(Protocol):
    """Publishes signed heads."""

    async def publish(self, *, at_most_every_s: float = 0.0) -> Published | None:
        """State all heads, signed, in the folder; None while the last ones are young enough.

        Raises:
            KeyUnusable: the key that signs heads is damaged.
            NotCopied: the copy elsewhere could not be brought up to date.
        """
        ...
