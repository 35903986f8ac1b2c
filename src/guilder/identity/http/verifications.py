"""Routes of verifications: what waits and its codes, confirm with a code, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api import AccountType
from guilder.identity.api.second_factors import InvalidOtp
from guilder.identity.api.verifications import (
    VerificationExpired,
    VerificationNotFound,
)
from guilder.identity.service.verifications import Shown, Verifying
from guilder.kernel.errors import NotPermitted, Overloaded
from guilder.platform.http.route import Access, Answer, Request, Route

_TAG: Final = "verifications"

SixDigits = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]
"""A code as people enter it."""

Token = Annotated[str, Meta(min_length=1, max_length=200)]
"""A token as it was answered."""


class OtpBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The code that the user-admin portal shows."""

    otp: SixDigits


class PendingVerification(Struct, kw_only=True):
    """An operation that waits for its code. ``details`` say what would be done."""

    id: UUID
    operation_type: str
    otp: str
    status: str
    expires_at: datetime
    created_at: datetime
    details: Mapping[str, str]


class PendingVerifications(Struct, kw_only=True):
    """Everything that waits for one user, newest first."""

    verifications: list[PendingVerification]


class VerificationToken(Struct, kw_only=True):
    """To be sent once, as ``verification_token``, when the operation is repeated."""

    token: str
    expires_at: datetime


class Verified(Struct, kw_only=True):
    """The code was right."""

    verified: bool
    token: VerificationToken


class Cancelled(Struct, kw_only=True):
    """The verification was given up."""

    id: UUID
    status: str


class VerificationRoutes:
    """The handlers, each one use case."""

    def __init__(self, verifying: Verifying) -> None:
        self._verifying = verifying

    async def pending(self, request: Request) -> Answer:
        """What waits to be confirmed, with the codes. For user-admin accounts only."""
        if request.user.account_type != AccountType.USER_ADMIN:
            raise NotPermitted
        shown = await self._verifying.pending(request.user.user_id)
        return Answer(data=PendingVerifications(verifications=[_pending(one) for one in shown]))

    async def verify(self, request: Request) -> Answer:
        """Confirm an operation with its code; it takes five wrong ones at most.

        The answer has the token that the operation is repeated with, once, within five minutes.
        """
        body: OtpBody = request.body
        proof = await self._verifying.verify(
            request.user.user_id, verification_id=request.id("verification_id"), code=body.otp
        )
        token = VerificationToken(token=proof.token, expires_at=proof.expires_at)
        return Answer(data=Verified(verified=True, token=token))

    async def cancel(self, request: Request) -> Answer:
        """Give an operation up: neither its code nor its token works any more."""
        verification_id = request.id("verification_id")
        await self._verifying.cancel(request.user.user_id, verification_id=verification_id)
        return Answer(data=Cancelled(id=verification_id, status="cancelled"))

    def routes(self) -> tuple[Route, ...]:
        """Every route of verifications."""
        return (
            Route(
                method="GET",
                path="/verifications/pending",
                handler=self.pending,
                access="verifications:read",
                summary="What waits for confirmation, with its codes",
                tag=_TAG,
                answers=PendingVerifications,
                raises=(NotPermitted, Overloaded),
            ),
            Route(
                method="POST",
                path="/verifications/{verification_id}/verify",
                handler=self.verify,
                access=Access.ANY_CALLER,
                summary="Confirm an operation with its code",
                tag=_TAG,
                body=OtpBody,
                answers=Verified,
                raises=(InvalidOtp, VerificationNotFound, VerificationExpired, Overloaded),
                example={"otp": "847291"},
            ),
            Route(
                method="POST",
                path="/verifications/{verification_id}/cancel",
                handler=self.cancel,
                access=Access.ANY_CALLER,
                summary="Give an operation up",
                tag=_TAG,
                answers=Cancelled,
                raises=(VerificationNotFound, VerificationExpired, Overloaded),
            ),
        )


def _pending(shown: Shown) -> PendingVerification:
    pending = shown.pending
    return PendingVerification(
        id=pending.id,
        operation_type=pending.operation.value,
        otp=shown.code,
        status=pending.status,
        expires_at=pending.expires_at,
        created_at=pending.created_at,
        details=pending.shown,
    )
