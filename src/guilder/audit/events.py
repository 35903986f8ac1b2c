"""Facts that audit publishes, keyed by whom they are of: what was denied, and who was erased."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDenied:
    """A request was refused because of who sent it: not known, not permitted, or blocked."""

    TYPE: ClassVar[str] = "com.guilder.access.denied"

    code: str
    method: str
    route: str
    denied_at: datetime
    person_id: UUID
    """The person behind it, or whose name was tried, or else a pseudonym for that name or the
    address."""
    sealed: str | None
    """Client address and the name that was tried, in base64, encrypted for audit alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenialsDropped:
    """More requests were denied than are recorded one by one; these were only counted."""

    TYPE: ClassVar[str] = "com.guilder.access.denials_dropped"

    dropped: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonErased:
    """The key of a person was destroyed; nobody reads their personal data in audit any more."""

    TYPE: ClassVar[str] = "com.guilder.person.erased"

    person_id: UUID
    reason: str
    erased_at: datetime
