"""Routes of one-time codes: sign in with one, prove that an email or a phone is one's own."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from guilder.identity.api.codes import (
    CodeSent,
    ContactStanding,
    NoSuchContact,
    TooManyCodesSent,
)
from guilder.identity.api.second_factors import Challenge, InvalidOtp, TooManyCodes
from guilder.identity.api.sessions import TooManySignIns, UserFrozen
from guilder.identity.http.challenges import MfaChallenge, challenge_answer
from guilder.identity.http.logins import Login, login_body, user_agent
from guilder.identity.http.verifications import SixDigits
from guilder.identity.service.code_sending import CodeSending
from guilder.identity.service.code_sign_in import CodeSignIn
from guilder.identity.service.contact_checks import Contact, ContactChecks
from guilder.kernel.errors import Overloaded, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route

_TAG: Final = "identity"


class NameBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One of ``email`` and ``phone``."""

    email: str | None = None
    phone: str | None = None


class CodeLoginBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """One of ``email`` and ``phone``, and the code that was sent to it.

    ``second_factor`` is a code of an authenticator app; without it, who has one is answered a
    challenge. ``device_token`` is what this device was remembered by.
    """

    email: str | None = None
    phone: str | None = None
    otp: SixDigits
    second_factor: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    device_token: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class ContactBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which of one's own addresses; without ``otp``, a code is sent to it."""

    contact: Contact
    otp: SixDigits | None = None


class CodeRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, sending: CodeSending, sign_in: CodeSignIn, checks: ContactChecks) -> None:
        self._sending = sending
        self._sign_in = sign_in
        self._checks = checks

    async def request(self, request: Request) -> Answer:
        """Have a code sent to sign in with, by email or SMS: whichever address is named.

        The answer is the same whether or not somebody is registered. A code lives five minutes,
        takes five tries, and is sent five times an hour and twenty a day at most, half a minute
        apart.
        """
        body: NameBody = request.body
        sent = await self._sending.ask_to_sign_in(email=body.email, phone=body.phone)
        return Answer(data=sent)

    async def verify(self, request: Request) -> Answer:
        """Open a customer's session with a code, as ``POST /auth/login`` does with a password.

        A remembered device is not held up by others' failures.
        """
        body: CodeLoginBody = request.body
        outcome = await self._sign_in.sign_in(
            email=body.email,
            phone=body.phone,
            code=body.otp,
            second_factor=body.second_factor,
            device_token=body.device_token,
            user_agent=user_agent(request),
            client_address=request.client_address,
        )
        if isinstance(outcome, Challenge):
            return challenge_answer(outcome)
        return Answer(data=login_body(outcome))

    async def contact(self, request: Request) -> Answer:
        """Prove that one's email or phone is one's own.

        Without ``otp`` a code is sent to the address, and the answer is 202; with the right one
        the address is proved.
        """
        body: ContactBody = request.body
        account_id = request.user.user_id
        if body.otp is None:
            sent = await self._checks.send(account_id, contact=body.contact)
            return Answer(data=sent, status=202)
        standing = await self._checks.confirm(
            account_id,
            contact=body.contact,
            code=body.otp,
            client_address=request.client_address,
        )
        return Answer(data=standing)

    def routes(self) -> tuple[Route, ...]:
        """Every route of one-time codes."""
        return (
            Route(
                method="POST",
                path="/auth/otp/request",
                handler=self.request,
                access=Access.PUBLIC,
                summary="Have a code sent to sign in with",
                tag=_TAG,
                body=NameBody,
                answers=CodeSent,
                status=202,
                raises=(ValidationFailed, Overloaded),
                example={"phone": "+919876543210"},
            ),
            Route(
                method="POST",
                path="/auth/otp/verify",
                handler=self.verify,
                access=Access.PUBLIC,
                summary="Sign in with a code",
                tag=_TAG,
                body=CodeLoginBody,
                answers=Login,
                accepted=MfaChallenge,
                raises=(
                    ValidationFailed,
                    InvalidOtp,
                    TooManyCodes,
                    TooManySignIns,
                    UserFrozen,
                    Overloaded,
                ),
                example={"phone": "+919876543210", "otp": "847291"},
            ),
            Route(
                method="POST",
                path="/auth/verify",
                handler=self.contact,
                access=Access.ANY_CALLER,
                summary="Prove that an email or a phone is one's own",
                tag=_TAG,
                body=ContactBody,
                answers=ContactStanding,
                accepted=CodeSent,
                raises=(NoSuchContact, InvalidOtp, TooManyCodesSent, TooManySignIns, Overloaded),
                example={"contact": "email"},
            ),
        )
