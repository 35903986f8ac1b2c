"""Routes of passwords: change it, or set another one when it is forgotten."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from guilder.identity.api.codes import CodeSent, ResetTokenUnusable, WrongPassword
from guilder.identity.api.sessions import TooManySignIns
from guilder.identity.api.verifications import (
    InvalidVerificationToken,
    TooManyVerifications,
    VerificationExpired,
    VerificationNeeded,
)
from guilder.identity.http.codes import NameBody
from guilder.identity.http.verifications import Token
from guilder.identity.service.change_password import PasswordChange, Wish
from guilder.identity.service.code_sending import CodeSending
from guilder.identity.service.recovery_of_access import RecoveryOfAccess
from guilder.kernel.errors import NotPermitted, Overloaded, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route

_TAG: Final = "identity"


class ChangeBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The password there is and the one there shall be; the token once it was verified."""

    current_password: str
    new_password: str
    verification_token: Token | None = None


class ResetBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The token that was sent, and the password there shall be."""

    token: Annotated[str, Meta(min_length=1, max_length=200)]
    new_password: str


class PasswordIsChanged(Struct, kw_only=True):
    """The new password holds from now on."""

    password_changed: bool
    message: str


class PasswordRoutes:
    """The handlers, each one use case."""

    def __init__(
        self, *, change: PasswordChange, sending: CodeSending, recovery: RecoveryOfAccess
    ) -> None:
        self._change = change
        self._sending = sending
        self._recovery = recovery

    async def change(self, request: Request) -> Answer:
        """Change one's password. The first call answers 202 and the verification to complete.

        Repeated with its ``verification_token`` it changes the password and ends the user's other
        sessions.
        """
        body: ChangeBody = request.body
        needed = await self._change.change(
            Wish(
                account_id=request.user.user_id,
                session_id=request.user.session_id,
                client_address=request.client_address,
                current=body.current_password,
                new=body.new_password,
                token=body.verification_token,
            )
        )
        if needed is not None:
            return Answer(data=needed, status=202)
        return Answer(data=PasswordIsChanged(password_changed=True, message="Password changed."))

    async def forgot(self, request: Request) -> Answer:
        """Have a token sent to one's email, to set another password with.

        The answer is the same whether or not somebody is registered. The token works once, within
        half an hour.
        """
        body: NameBody = request.body
        sent = await self._sending.ask_to_reset(email=body.email, phone=body.phone)
        return Answer(data=sent)

    async def reset(self, request: Request) -> Answer:
        """Set another password with the token. Every session of the user ends."""
        body: ResetBody = request.body
        await self._recovery.reset(body.token, new_password=body.new_password)
        message = "Password changed. Sign in with it."
        return Answer(data=PasswordIsChanged(password_changed=True, message=message))

    def routes(self) -> tuple[Route, ...]:
        """Every route of passwords."""
        return (self._changing(), *self._forgetting())

    def _changing(self) -> Route:
        return Route(
            method="POST",
            path="/auth/password/change",
            handler=self.change,
            access=Access.ANY_CALLER,
            summary="Change one's password",
            tag=_TAG,
            body=ChangeBody,
            answers=PasswordIsChanged,
            accepted=VerificationNeeded,
            raises=(
                ValidationFailed,
                WrongPassword,
                NotPermitted,
                TooManySignIns,
                InvalidVerificationToken,
                VerificationExpired,
                TooManyVerifications,
                Overloaded,
            ),
            example={"current_password": "OldPass123", "new_password": "NewSecurePass456"},
        )

    def _forgetting(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/auth/forgot",
                handler=self.forgot,
                access=Access.PUBLIC,
                summary="Have a token sent to reset the password",
                tag=_TAG,
                body=NameBody,
                answers=CodeSent,
                status=202,
                raises=(ValidationFailed, Overloaded),
                example={"email": "anna@example.com"},
            ),
            Route(
                method="POST",
                path="/auth/reset",
                handler=self.reset,
                access=Access.PUBLIC,
                summary="Reset the password with a token",
                tag=_TAG,
                body=ResetBody,
                answers=PasswordIsChanged,
                raises=(ResetTokenUnusable, ValidationFailed, Overloaded),
                example={"token": "rst_…", "new_password": "NewSecurePass456"},
            ),
        )
