"""Refusals: the rules say no. One tree, stable codes, families instead of HTTP statuses.

A refusal is an expected answer, so it can be raised by a use case or returned as a value by the
pure core. A bug is never a refusal: see `guilder.kernel.invariant`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Self

from guilder.kernel.ids import UserId


class Family(StrEnum):
    """What kind of "no" it is. ``guilder.platform.http.status`` maps each family to a status."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    GONE = "gone"
    PRECONDITION = "precondition"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"


class Refusal(Exception):
    """The rules say no, with a stable code for machines and a message for people.

    Subclasses name the fact (``InsufficientFunds``) and set ``code``, ``family`` and a default
    ``message``. ``details`` are JSON-able and shown to the caller, so they never hold secrets.
    """

    code: ClassVar[str]
    family: ClassVar[Family]
    message: str = "The request was refused."
    turns_away: bool = False
    """It is because of who asks, though its family does not say so: audit keeps it as a denial."""

    def __init__(self, message: str | None = None, /, **details: object) -> None:
        if message is not None:
            self.message = message
        self.details = details
        super().__init__(self.message)


class ValidationFailed(Refusal):
    """A field is missing, malformed or out of range. ``details["fields"]`` names each one."""

    code = "VALIDATION_ERROR"
    family = Family.INVALID
    message = "The request is not valid."


class BadRequest(Refusal):
    """The request as a whole cannot be read (not JSON, wrong encoding, doubled keys)."""

    code = "BAD_REQUEST"
    family = Family.INVALID
    message = "The request could not be read."


class Unauthenticated(Refusal):
    """No token, or one that is malformed, expired or signed by someone else."""

    code = "UNAUTHORIZED"
    family = Family.UNAUTHENTICATED
    message = "A valid access token is required."

    def __init__(
        self,
        message: str | None = None,
        /,
        *,
        claimed: str | None = None,
        claimed_id: UserId | None = None,
    ) -> None:
        super().__init__(message)
        self.claimed = claimed
        """Whom the caller said to be, unproven; it is kept for audit and never answered."""
        self.claimed_id = claimed_id
        """The user whose name that is, where somebody has it; never answered either."""


class NotPermitted(Refusal):
    """The caller is known and may not do this."""

    code = "FORBIDDEN"
    family = Family.FORBIDDEN
    message = "You are not permitted to do this."


class NotFound(Refusal):
    """It does not exist, or it exists and is not the caller's: the answer is the same."""

    code = "NOT_FOUND"
    family = Family.NOT_FOUND
    message = "There is no such resource."

    @classmethod
    def of_another(cls, **details: object) -> Self:
        """It exists and is somebody else's: answered the same, and kept as a denial."""
        refusal = cls(None, **details)
        refusal.turns_away = True
        return refusal


class Conflict(Refusal):
    """It would contradict something that is already there."""

    code = "CONFLICT"
    family = Family.CONFLICT
    message = "This conflicts with what is already there."


class IdempotencyKeyReused(Conflict):
    """The key was used for another payload; ``details["fields"]`` names what differs."""

    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was used for a different request."


class Overloaded(Refusal):
    """The queue is full or the database does not answer in time. Safe to repeat with the same key.

    ``details["retry_after_s"]`` says when.
    """

    code = "OVERLOADED"
    family = Family.UNAVAILABLE
    message = "The service is busy; try again shortly."

    def __init__(self, message: str | None = None, /, *, retry_after_s: int = 1) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
