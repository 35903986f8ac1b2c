"""What others may know of verifications: who has to confirm what, and how the proof is spent.

An operation that needs one asks `Verifications.demand` and answers what it gets with 202. The user
reads the code in the portal of the paired user-admin account, enters it, and has a token. The
operation is then repeated with the token, which it spends with `VerificationTokens.spend` in the
very transaction of its effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final, NewType, Protocol
from uuid import UUID

from msgspec import Struct

from guilder.kernel.errors import Family, NotFound, NotPermitted, Refusal
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Tx

VerificationId = NewType("VerificationId", UUID)

CODE_LIFE_S: Final = 5 * 60
"""How long a code may be entered, and then how long its token may be spent."""


class Operation(StrEnum):
    """What has to be verified."""

    PASSWORD_CHANGE = "password_change"  # noqa: S105 - the name of an operation, not a secret
    BENEFICIARY_ADD = "beneficiary_add"
    HIGH_VALUE_TRANSFER = "high_value_transfer"


class VerificationNotFound(NotFound):
    """There is no such verification, or it is somebody else's."""

    message = "There is no such verification."


class VerificationExpired(Refusal):
    """The verification is over: too late, cancelled, tried too often, or used.

    ``details["status"]`` says which.
    """

    code = "VERIFICATION_EXPIRED"
    family = Family.GONE
    message = "This verification is over; begin again."

    def __init__(self, *, status: str = "expired") -> None:
        super().__init__(None, status=status)


class InvalidVerificationToken(NotPermitted):
    """The token was used, is of another user or operation, or these are other parameters."""

    code = "INVALID_VERIFICATION_TOKEN"
    message = "The verification token does not allow this."


class TooManyVerifications(Refusal):
    """Many verifications were begun and few completed, or many codes were wrong, in this session.

    ``details["retry_after_s"]`` says when another may begin.
    """

    code = "TOO_MANY_VERIFICATIONS"
    family = Family.TOO_MANY
    message = "Too many verifications were begun and not completed; wait before the next one."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(None, retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An operation that an account wants to do. ``parameters`` are all that the proof is bound to.

    ``shown`` is what the user-admin account sees of them. ``session_id`` is the session that asks,
    by which verifications that come to nothing are counted; None for a program.
    """

    account_id: UserId
    session_id: SessionId | None = None
    operation: Operation
    parameters: Mapping[str, str] = field(repr=False)
    shown: Mapping[str, str] = field(default_factory=dict)


class VerificationNeeded(Struct, frozen=True, kw_only=True):
    """Nothing was done yet: the operation has to be verified and repeated with the token.

    It is the whole body of a 202. ``message`` says, for people, where the code is.
    """

    verification_required: bool = True
    verification_id: VerificationId
    message: str
    expires_at: datetime


class Verifications(Protocol):
    """Begins verifications."""

    async def demand(self, asked: Asked) -> VerificationNeeded:
        """The verification that has to be completed before ``asked`` is done.

        Asking again for the same while it waits answers the same one.

        Raises:
            NotPermitted: the account is nobody's who could verify anything.
            TooManyVerifications: too many were begun and not completed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A token to be spent on an operation. ``used_by`` names the one attempt that it is spent on.

    ``token`` is the token's `token_digest`.
    """

    token: bytes
    account_id: UserId
    operation: Operation
    parameters: Mapping[str, str]
    used_by: UUID


class VerificationTokens(Protocol):
    """Spends tokens inside the transactions of others. Each can be spent once."""

    async def spend(self, tx: Tx, spendings: Sequence[Spending]) -> Mapping[UUID, Refusal | None]:
        """Spend tokens, and answer for each attempt why it may not go on; None: it may.

        Of several attempts with one token the first is meant. An attempt that spent its token
        before, in a transaction whose answer was lost, may go on.
        """
        ...

    async def give_back(self, tx: Tx, attempts: Sequence[UUID]) -> None:
        """Let tokens be spent later that were spent in this transaction for nothing."""
        ...


def token_digest(token: str) -> bytes:
    """What is kept of a token, and how one is looked for."""
    return sha256(token.encode()).digest()
