"""What a verification is bound to, and what an attempt at its code comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from guilder.identity.api.verifications import Operation
from guilder.kernel.ids import UserId
from guilder.kernel.seals import seal

MOST_TRIES: Final = 5


class Status(StrEnum):
    """Where a verification is in its life. The last four are its ends."""

    PENDING = "pending"
    VERIFIED = "verified"
    USED = "used"
    CANCELLED = "cancelled"
    EXHAUSTED = "exhausted"
    EXPIRED = "expired"

    @property
    def is_open(self) -> bool:
        """Whether something can still become of it."""
        return self in {Status.PENDING, Status.VERIFIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an attempt is judged by. ``expires_at`` is the code's end, then the token's."""

    user_id: UserId
    account_id: UserId
    operation: Operation
    status: Status
    tries: int
    token_digest: bytes | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an attempt comes to: the verification's status and tries, and whether it was right."""

    status: Status
    tries: int
    is_right: bool = False
    is_wrong: bool = False
    """Neither: there was nothing to be right about any more."""

    @property
    def tries_left(self) -> int:
        """How many wrong codes more it takes."""
        return MOST_TRIES - self.tries


def parameters_digest(operation: Operation, parameters: Mapping[str, str]) -> bytes:
    """32 bytes that stand for the operation and every parameter by its name."""
    fields = [part for name in sorted(parameters) for part in (name, parameters[name])]
    return seal(operation.value, *fields)


def judge(before: Standing, *, token: str, code_is_right: bool | None, now: datetime) -> Verdict:
    """The verdict on an attempt at the time ``now``, which was read under the row's lock.

    ``token`` is what the entered code would give. It tells whether the code is right once the
    code itself is wiped, so that whoever lost the answer gets it again. ``code_is_right`` is None
    where the code is gone: no attempt can be right any more unless one has been.
    """
    if not before.status.is_open:
        return Verdict(status=before.status, tries=before.tries)
    is_gone = code_is_right is None and before.status is Status.PENDING
    if is_gone or now >= before.expires_at:
        return Verdict(status=Status.EXPIRED, tries=before.tries)
    is_right = code_is_right is True
    if before.status is Status.VERIFIED:
        is_right = before.token_digest == sha256(token.encode()).digest()
    if is_right:
        return Verdict(status=Status.VERIFIED, tries=before.tries, is_right=True)
    tries = before.tries + 1
    status = Status.EXHAUSTED if tries >= MOST_TRIES else before.status
    return Verdict(status=status, tries=tries, is_wrong=True)
