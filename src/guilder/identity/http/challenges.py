"""How a sign-in answers that it waits for a second factor."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from guilder.identity.api.second_factors import Challenge
from guilder.platform.http.route import Answer

CHALLENGED: Final = 202
"""Accepted and not done: no token was given."""
_MESSAGE: Final = "A second factor is needed: complete this at /auth/mfa/verify."


class MfaChallenge(msgspec.Struct, kw_only=True):
    """A sign-in that ``POST /auth/mfa/verify`` completes, with ``challenge`` and a factor."""

    mfa_required: bool
    challenge: str
    expires_at: datetime
    factors: tuple[str, ...]
    passkey_options: dict[str, Any] | None
    message: str


def challenge_answer(challenge: Challenge) -> Answer:
    """What is answered instead of a token."""
    options = challenge.passkey_options
    body = MfaChallenge(
        mfa_required=True,
        challenge=challenge.token,
        expires_at=challenge.expires_at,
        factors=tuple(factor.value for factor in challenge.factors),
        passkey_options=None if options is None else dict(options),
        message=_MESSAGE,
    )
    return Answer(data=body, status=CHALLENGED)
