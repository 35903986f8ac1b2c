"""What signing in needs of second factors: the demand for one, the challenge, and its refusals.

Whoever opens a session asks `SecondFactors.demand` first. A `Challenge` is answered to the caller
instead of a token, and completed at ``POST /auth/mfa/verify``, which opens the session itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from guilder.identity.api import AccountView
from guilder.kernel.errors import Conflict, Family, NotPermitted, Refusal, Unauthenticated
from guilder.kernel.ids import SessionId, UserId


class Factor(StrEnum):
    """What can be asked for besides a password."""

    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery_code"


class InvalidOtp(Refusal):
    """The code is wrong, has been used, or is of another time."""

    code = "INVALID_OTP"
    family = Family.INVALID
    turns_away = True
    message = "The code is wrong or has been used."


class TooManyCodes(Refusal):
    """Too many wrong codes, or passwords of a step-up, came in a row.

    Recovery codes and passkeys still work. ``details["retry_after_s"]`` says when the next code
    is looked at.
    """

    code = "TOO_MANY_CODES"
    family = Family.TOO_MANY
    turns_away = True
    message = "Too many wrong codes were tried; wait before the next one."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(None, retry_after_s=retry_after_s)


class ChallengeUnusable(Unauthenticated):
    """The challenge is unknown, over, used, tried too often, or was begun elsewhere.

    One code with every other failed sign-in: sign in again.
    """

    message = "This sign-in can no longer be completed; begin again."


class InvalidPasskey(Unauthenticated):
    """The passkey is unknown, or what it signed is not what was asked for."""

    message = "The passkey could not be verified."


class StepUpRequired(NotPermitted):
    """The session has to prove itself again (``POST /auth/step-up``) before it may do this."""

    code = "STEP_UP_REQUIRED"
    message = "Prove that it is you before changing this."


class AlreadyEnrolled(Conflict):
    """The user has this factor; it has to be removed before there can be another."""

    code = "ALREADY_ENROLLED"
    message = "This factor is already set up."


class NotEnrolling(Conflict):
    """Nothing is waiting to be confirmed: it was never begun, or too long ago."""

    code = "NOT_ENROLLING"
    message = "There is nothing to confirm; begin again."


class NoSecondFactor(Conflict):
    """The user has no second factor that this could be about."""

    code = "NO_SECOND_FACTOR"
    message = "There is no second factor."


class TooManyPasskeys(Conflict):
    """The user has as many passkeys as anybody may have."""

    code = "TOO_MANY_PASSKEYS"
    message = "There are too many passkeys; remove one first."


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A sign-in that waits for a second factor.

    ``token`` is the secret to complete it with. ``passkey_options`` is what a browser's
    ``navigator.credentials.get`` takes, in JSON; None for a user without passkeys.
    """

    token: str = field(repr=False)
    expires_at: datetime
    factors: tuple[Factor, ...]
    passkey_options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Nothing more is needed. ``methods`` are those of the session to open (RFC 8176)."""

    methods: tuple[str, ...]


Demand: TypeAlias = Challenge | Passed


class SecondFactors(Protocol):
    """Says whether a sign-in needs more than it has shown."""

    async def demand(
        self,
        account: AccountView,
        *,
        otp: str | None,
        client_address: str,
        methods: tuple[str, ...] = ("pwd",),
    ) -> Demand:
        """What an account still has to show after its first factor, ``methods``, was proved.

        A user without second factors passes, whatever ``otp`` is. ``otp`` is a TOTP or a recovery
        code; a right one is used up. Without one, a new challenge is made.

        Raises:
            InvalidOtp: the code is wrong, or was used.
            TooManyCodes: too many were wrong before.
        """
        ...


class FactorResets(Protocol):
    """Takes second factors away from somebody who has lost them, for the command line."""

    async def reset_for(self, email: str, *, reason: str) -> UserId:
        """Leave the user with this email the password alone, and end all of their sessions.

        Raises:
            ValidationFailed: it is no email address.
            NotFound: nobody has this email.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorsView:
    """Which second factors a user has. ``recovery_codes_left`` is of the ten handed out."""

    totp_since: datetime | None
    passkeys: int
    recovery_codes_left: int

    @property
    def is_enrolled(self) -> bool:
        """Whether signing in with a password needs a second factor."""
        return self.totp_since is not None or self.passkeys > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrollment:
    """A secret for an authenticator app, which a code of it has to confirm."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Whose session asks to change second factors."""

    user_id: UserId
    account_id: UserId
    session_id: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedUp:
    """A session has proved itself again."""

    by_factor: bool
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What signs in, and from where. ``token`` is what it was remembered by."""

    user_agent: str | None
    client_address: str
    token: str | None = field(default=None, repr=False)
    wants_to_be_remembered: bool = False
