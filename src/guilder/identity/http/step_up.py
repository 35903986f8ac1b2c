"""Routes of step-ups: a session proves itself again before it may change what protects it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from guilder.identity.api.second_factors import (
    Asker,
    InvalidOtp,
    InvalidPasskey,
    NoSecondFactor,
    SteppedUp,
    StepUpRequired,
    TooManyCodes,
)
from guilder.identity.http.second_factors import PASSKEY_BODY_BYTES, TAG, Otp, asker, one_of
from guilder.identity.service.step_up import StepUp
from guilder.kernel.errors import Overloaded, ValidationFailed
from guilder.platform.http.route import Access, Answer, Request, Route


class StepUpBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One of ``password``, ``otp`` and ``passkey``."""

    password: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    otp: Otp | None = None
    passkey: dict[str, Any] | None = None


class Proved(msgspec.Struct, kw_only=True):
    """The session may change second factors until ``valid_until``."""

    proved: bool
    by_factor: bool
    valid_until: datetime


class StepUpRoutes:
    """The handlers, each one use case."""

    def __init__(self, *, step_up: StepUp) -> None:
        self._step_up = step_up

    async def step_up(self, request: Request) -> Answer:
        """Prove again that it is you, for five minutes of this session.

        With a second factor where there is one, else with the password.
        """
        body: StepUpBody = request.body
        one_of(password=body.password, otp=body.otp, passkey=body.passkey)
        return Answer(data=_proved(await self._prove(asker(request), body)))

    async def step_up_options(self, request: Request) -> Answer:
        """What a browser asks one of the user's passkeys for, to step up with it.

        The answer's ``data`` is what ``PublicKeyCredential.parseRequestOptionsFromJSON()`` takes.
        """
        return Answer(data=dict(await self._step_up.passkey_options(asker(request))))

    async def _prove(self, who: Asker, body: StepUpBody) -> SteppedUp:
        if body.password is not None:
            return await self._step_up.by_password(who, password=body.password)
        if body.passkey is not None:
            return await self._step_up.by_passkey(who, credential=body.passkey)
        return await self._step_up.by_code(who, otp=body.otp or "")

    def routes(self) -> tuple[Route, ...]:
        """Every route of step-ups."""
        return (
            Route(
                method="POST",
                path="/auth/step-up",
                handler=self.step_up,
                access=Access.ANY_CALLER,
                summary="Prove again that it is you",
                tag=TAG,
                body=StepUpBody,
                answers=Proved,
                raises=(
                    ValidationFailed,
                    StepUpRequired,
                    InvalidPasskey,
                    Overloaded,
                    InvalidOtp,
                    TooManyCodes,
                ),
                max_body_bytes=PASSKEY_BODY_BYTES,
                example={"otp": "492039"},
            ),
            Route(
                method="POST",
                path="/auth/step-up/options",
                handler=self.step_up_options,
                access=Access.ANY_CALLER,
                summary="Ask a passkey for a step-up",
                tag=TAG,
                answers=dict[str, Any],
                raises=(NoSecondFactor,),
            ),
        )


def _proved(done: SteppedUp) -> Proved:
    return Proved(proved=True, by_factor=done.by_factor, valid_until=done.valid_until)
