"""Routes of identity: register, sign in, who am I, and what people change of themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from guilder.identity.api import (
    AccountType,
    AccountView,
    AlreadyRegistered,
    Applicant,
    Credentials,
    InvalidCredentials,
)
from guilder.identity.api.second_factors import Challenge, InvalidOtp, TooManyCodes
from guilder.identity.api.sessions import TooManySignIns, UserFrozen
from guilder.identity.http.challenges import MfaChallenge, challenge_answer
from guilder.identity.http.logins import (
    Login,
    SignedInUser,
    login_body,
    signed_in_user,
    user_agent,
)
from guilder.identity.service.profile import Profile
from guilder.identity.service.register import Registration
from guilder.identity.service.sign_in import SignIn
from guilder.kernel.errors import NotPermitted, Overloaded, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route

_TAG: Final = "identity"


class RegisterBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new customer. A phone without a country code is read as a local one."""

    email: str
    password: str
    full_name: str
    phone: str


class LoginBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One of ``email`` and ``phone``, and the password.

    ``otp`` is a code of the second factor; without it, who has one is answered a challenge.
    ``device_token`` is what this device was remembered by; ``remember_device`` asks for one.
    """

    email: str | None = None
    phone: str | None = None
    password: str
    account_type: Literal["customer", "user_admin", "staff"] | None = None
    otp: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    device_token: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    remember_device: bool = False


class ChangeMeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What people change of themselves."""

    full_name: str


class Kyc(msgspec.Struct, kw_only=True):
    """How far the verification of the person has come."""

    status: str


class RegisteredUser(msgspec.Struct, kw_only=True):
    """A user who has just registered."""

    id: UUID
    email: str
    phone: str | None
    full_name: str
    status: str
    created_at: datetime
    kyc: Kyc


class Me(SignedInUser, kw_only=True):
    """The caller's own account. ``POST /auth/verify`` proves an email or a phone."""

    email_verified: bool
    phone_verified: bool
    created_at: datetime
    kyc: Kyc


class IdentityRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, registration: Registration, sign_in: SignIn, profile: Profile) -> None:
        self._registration = registration
        self._sign_in = sign_in
        self._profile = profile

    async def register(self, request: Request) -> Answer:
        """Make a customer account, and the user-admin account paired with it.

        The user-admin account shares email and password; it signs in with
        ``account_type: "user_admin"`` and shows the codes that confirm sensitive operations.
        """
        body: RegisterBody = request.body
        user = await self._registration.register(
            Applicant(
                email=body.email,
                full_name=body.full_name,
                phone=body.phone,
                password=body.password,
            )
        )
        return Answer(data=_registered(user))

    async def login(self, request: Request) -> Answer:
        """Open a session and answer its access token, to be sent as ``Authorization: Bearer``.

        The answer is the same for an unknown user and a wrong password. After five failures for a
        name the next sign-in has to wait, each time longer, for fifteen minutes at most. A user
        with a second factor gives a code of it as ``otp``, or is answered 202 and a challenge for
        ``POST /auth/mfa/verify``. A remembered device is not held up by others' failures.
        """
        body: LoginBody = request.body
        account_type = None if body.account_type is None else AccountType(body.account_type)
        outcome = await self._sign_in.sign_in(
            Credentials(
                email=body.email,
                phone=body.phone,
                password=body.password,
                account_type=account_type,
                otp=body.otp,
                device_token=body.device_token,
                remember_device=body.remember_device,
            ),
            user_agent=user_agent(request),
            client_address=request.client_address,
        )
        if isinstance(outcome, Challenge):
            return challenge_answer(outcome)
        return Answer(data=login_body(outcome))

    async def me(self, request: Request) -> Answer:
        """The caller's account as it stands now, which may be newer than the token."""
        account = await self._profile.whoami(request.user.user_id)
        return Answer(data=_me(account))

    async def change_me(self, request: Request) -> Answer:
        """Only the name can be changed here; it is the same for all accounts of the user.

        Language, quiet hours and channels are in ``/notifications/preferences``.
        """
        body: ChangeMeBody = request.body
        if request.user.client_id is not None:
            raise NotPermitted
        account = await self._profile.rename(request.user.user_id, full_name=body.full_name)
        return Answer(data=_me(account))

    def routes(self) -> tuple[Route, ...]:
        """Every route of identity."""
        return (*self._public_routes(), *self._own_routes())

    def _public_routes(self) -> tuple[Route, ...]:
        person = {"email": "anna@example.com", "password": "SecurePass123"}
        return (
            Route(
                method="POST",
                path="/auth/register",
                handler=self.register,
                access=Access.PUBLIC,
                summary="Register a customer",
                tag=_TAG,
                body=RegisterBody,
                answers=RegisteredUser,
                status=201,
                raises=(ValidationFailed, AlreadyRegistered, Overloaded),
                example={**person, "full_name": "Anna Rao", "phone": "+919876543210"},
            ),
            Route(
                method="POST",
                path="/auth/login",
                handler=self.login,
                access=Access.PUBLIC,
                summary="Sign in",
                tag=_TAG,
                body=LoginBody,
                answers=Login,
                accepted=MfaChallenge,
                raises=(
                    ValidationFailed,
                    InvalidCredentials,
                    TooManySignIns,
                    InvalidOtp,
                    TooManyCodes,
                    UserFrozen,
                    Overloaded,
                ),
                example=person,
            ),
        )

    def _own_routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/auth/me",
                handler=self.me,
                access=Access.ANY_CALLER,
                summary="The caller's own account",
                tag=_TAG,
                answers=Me,
            ),
            Route(
                method="PATCH",
                path="/auth/me",
                handler=self.change_me,
                access=Access.ANY_CALLER,
                summary="Change the caller's own name",
                tag=_TAG,
                body=ChangeMeBody,
                answers=Me,
                raises=(ValidationFailed, NotPermitted),
                example={"full_name": "Anna Rao"},
            ),
        )


def _registered(user: AccountView) -> RegisteredUser:
    return RegisteredUser(
        id=user.id,
        email=user.email,
        phone=user.phone,
        full_name=user.full_name,
        status=user.status,
        created_at=user.created_at,
        kyc=Kyc(status=user.kyc_status),
    )


def _me(account: AccountView) -> Me:
    return Me(
        **msgspec.structs.asdict(signed_in_user(account)),
        email_verified=account.email_verified,
        phone_verified=account.phone_verified,
        created_at=account.created_at,
        kyc=Kyc(status=account.kyc_status),
    )
