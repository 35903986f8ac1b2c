"""Routes of second factors: completing a sign-in, authenticator apps, recovery codes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from guilder.identity.api.second_factors import (
    AlreadyEnrolled,
    Asker,
    ChallengeUnusable,
    Device,
    FactorsView,
    InvalidOtp,
    InvalidPasskey,
    NoSecondFactor,
    NotEnrolling,
    StepUpRequired,
    TooManyCodes,
)
from guilder.identity.api.sessions import UserFrozen
from guilder.identity.http.logins import Login, login_body, user_agent
from guilder.identity.service.second_factors import SecondFactorSignIn, Shown
from guilder.identity.service.totp_enrollment import TotpEnrollment
from guilder.kernel.errors import NotPermitted, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route

TAG: Final = "second factors"
PASSKEY_BODY_BYTES: Final = 32 * 1024
_CODE_REFUSALS: Final = (InvalidOtp, TooManyCodes)
_CODE: Final = {"otp": "492039"}
Otp = Annotated[str, Meta(min_length=1, max_length=40)]
DeviceToken = Annotated[str, Meta(min_length=1, max_length=200)]


class VerifyBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The ``challenge`` of a sign-in, and one of ``otp`` and ``passkey``.

    ``otp`` is a code of the authenticator app or a recovery code. ``passkey`` is what the browser
    gave back for the challenge's ``passkey_options``, as ``PublicKeyCredential.toJSON()`` has it.
    The device is remembered as at ``POST /auth/login``.
    """

    challenge: Annotated[str, Meta(min_length=1, max_length=100)]
    otp: Otp | None = None
    passkey: dict[str, Any] | None = None
    device_token: DeviceToken | None = None
    remember_device: bool = False


class CodeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A code of the authenticator app."""

    otp: Otp


class ProofBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A code of the authenticator app or a recovery code, unless a factor was just proved."""

    otp: Otp | None = None


class Factors(msgspec.Struct, kw_only=True):
    """Which second factors the user has. Signing in asks for one if ``enrolled``."""

    enrolled: bool
    totp: bool
    totp_since: datetime | None
    passkeys: int
    recovery_codes_left: int


class TotpSecret(msgspec.Struct, kw_only=True):
    """What an authenticator app is told, by hand or by ``otpauth_uri`` as a QR code."""

    secret: str
    otpauth_uri: str
    expires_at: datetime


class TotpConfirmed(msgspec.Struct, kw_only=True):
    """``recovery_codes`` are shown this once; null: the user has some."""

    enabled: bool
    recovery_codes: tuple[str, ...] | None


class TotpDisabled(msgspec.Struct, kw_only=True):
    """Signing in asks for the app no more."""

    enabled: bool


class NewRecoveryCodes(msgspec.Struct, kw_only=True):
    """All recovery codes that work now. They are shown this once."""

    recovery_codes: tuple[str, ...]


class SecondFactorRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, sign_in: SecondFactorSignIn, enrollment: TotpEnrollment) -> None:
        self._sign_in = sign_in
        self._enrollment = enrollment

    async def verify(self, request: Request) -> Answer:
        """Complete a sign-in that was answered with a challenge, and open its session.

        A challenge lasts five minutes and takes five tries, from the network it was begun in.
        """
        body: VerifyBody = request.body
        one_of(otp=body.otp, passkey=body.passkey)
        signed_in = await self._sign_in.complete(
            body.challenge,
            shown=Shown(
                otp=body.otp,
                credential=body.passkey,
                device=device(request, token=body.device_token, remember=body.remember_device),
            ),
        )
        return Answer(data=login_body(signed_in))

    async def factors(self, request: Request) -> Answer:
        """The caller's second factors."""
        return Answer(data=factors_body(await self._enrollment.factors(asker(request))))

    async def enroll(self, request: Request) -> Answer:
        """Begin to add an authenticator app: a secret that one of its codes has to confirm.

        Open to a session that began within ten minutes, or that has stepped up.
        """
        enrollment = await self._enrollment.enroll(asker(request))
        secret = TotpSecret(
            secret=enrollment.secret,
            otpauth_uri=enrollment.uri,
            expires_at=enrollment.expires_at,
        )
        return Answer(data=secret)

    async def confirm(self, request: Request) -> Answer:
        """Confirm the authenticator app. The user's other sessions end.

        The code counts as used: signing in takes the next one.
        """
        body: CodeBody = request.body
        codes = await self._enrollment.confirm(asker(request), otp=body.otp)
        return Answer(data=TotpConfirmed(enabled=True, recovery_codes=codes))

    async def disable(self, request: Request) -> Answer:
        """Remove the authenticator app, with a code or after a step-up by a factor.

        The user's other sessions end. Without any factor left, recovery codes go too.
        """
        body: ProofBody = request.body
        await self._enrollment.disable(asker(request), otp=body.otp)
        return Answer(data=TotpDisabled(enabled=False))

    async def recovery_codes(self, request: Request) -> Answer:
        """New recovery codes instead of the old ones, with a code or after a step-up."""
        body: ProofBody = request.body
        codes = await self._enrollment.replace_recovery_codes(asker(request), otp=body.otp)
        return Answer(data=NewRecoveryCodes(recovery_codes=codes))

    def routes(self) -> tuple[Route, ...]:
        """Every route of signing in with second factors, and of the app."""
        return (self._verify_route(), *self._totp_routes())

    def _verify_route(self) -> Route:
        return Route(
            method="POST",
            path="/auth/mfa/verify",
            handler=self.verify,
            access=Access.PUBLIC,
            summary="Complete a sign-in with a second factor",
            tag=TAG,
            body=VerifyBody,
            answers=Login,
            raises=(
                ValidationFailed,
                ChallengeUnusable,
                InvalidPasskey,
                UserFrozen,
                *_CODE_REFUSALS,
            ),
            max_body_bytes=PASSKEY_BODY_BYTES,
            example={"challenge": "DdZgYvJZTc6Xhrzq3YzN3C0Yh6Wm1cPj0sT0b0rI9a8", **_CODE},
        )

    def _totp_routes(self) -> tuple[Route, ...]:
        own: dict[str, Any] = {"access": Access.ANY_CALLER, "tag": TAG}
        return (
            Route(
                method="GET",
                path="/auth/mfa",
                handler=self.factors,
                summary="The caller's second factors",
                answers=Factors,
                **own,
            ),
            Route(
                method="POST",
                path="/auth/mfa/totp/enroll",
                handler=self.enroll,
                summary="Begin to add an authenticator app",
                answers=TotpSecret,
                raises=(StepUpRequired, AlreadyEnrolled),
                **own,
            ),
            Route(
                method="POST",
                path="/auth/mfa/totp/confirm",
                handler=self.confirm,
                summary="Confirm the authenticator app",
                body=CodeBody,
                answers=TotpConfirmed,
                raises=(InvalidOtp, NotEnrolling, AlreadyEnrolled),
                example=_CODE,
                **own,
            ),
            Route(
                method="POST",
                path="/auth/mfa/totp/disable",
                handler=self.disable,
                summary="Remove the authenticator app",
                body=ProofBody,
                answers=TotpDisabled,
                raises=(NoSecondFactor, StepUpRequired, *_CODE_REFUSALS),
                example=_CODE,
                **own,
            ),
            Route(
                method="POST",
                path="/auth/mfa/recovery-codes",
                handler=self.recovery_codes,
                summary="Replace the recovery codes",
                body=ProofBody,
                answers=NewRecoveryCodes,
                raises=(NoSecondFactor, StepUpRequired, *_CODE_REFUSALS),
                example=_CODE,
                **own,
            ),
        )


def factors_body(view: FactorsView) -> Factors:
    """Second factors as they are shown."""
    return Factors(
        enrolled=view.is_enrolled,
        totp=view.totp_since is not None,
        totp_since=view.totp_since,
        passkeys=view.passkeys,
        recovery_codes_left=view.recovery_codes_left,
    )


def asker(request: Request) -> Asker:
    """Whose session asks.

    Raises:
        NotPermitted: the caller is no person, or has a token without a session.
    """
    caller = request.user
    if caller.session_id is None:
        raise NotPermitted
    return Asker(
        user_id=caller.customer_id or caller.user_id,
        account_id=caller.user_id,
        session_id=caller.session_id,
    )


def device(request: Request, *, token: str | None, remember: bool) -> Device:
    """What signs in, and from where."""
    return Device(
        user_agent=user_agent(request),
        client_address=request.client_address,
        token=token,
        wants_to_be_remembered=remember,
    )


def one_of(**given: object) -> None:
    """Go on if one field of these was sent, and no other.

    Raises:
        ValidationFailed: none was, or several were.
    """
    if sum(value is not None for value in given.values()) != 1:
        names = ", ".join(given)
        raise ValidationFailed(fields=dict.fromkeys(given, f"is one of {names}"))
