"""Sessions as others see them, and how they are refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from guilder.identity.api import AccountType
from guilder.kernel.errors import Family, NotPermitted, Refusal, Unauthenticated
from guilder.kernel.ids import SessionId


class EndReason(StrEnum):
    """Why a session has ended before its time."""

    LOGOUT = "logout"
    LOGOUT_EVERYWHERE = "logout_everywhere"
    ENDED_BY_USER = "ended_by_user"
    REFRESH_REUSED = "refresh_reused"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a reason, not a secret
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a reason, not a secret
    FACTORS_CHANGED = "factors_changed"
    RECLAIMED = "reclaimed"
    FROZEN = "frozen"
    APPOINTED = "appointed"
    ERASED = "erased"


class SessionUnusable(Unauthenticated):
    """The refresh token is unknown, was used before, or its session has ended: sign in again."""

    message = "The session has ended; sign in again."


class UserFrozen(NotPermitted):
    """The user was frozen by staff. Said only to somebody who has proved to be that user."""

    code = "USER_FROZEN"
    message = "This user is frozen. Ask the support."


class TooManySignIns(Refusal):
    """Too many sign-ins failed for this name, or from this network; it does not tell which.

    It is answered for names that nobody has, too. ``details["retry_after_s"]`` says when the next
    sign-in is looked at.
    """

    code = "TOO_MANY_SIGN_INS"
    family = Family.TOO_MANY
    turns_away = True
    message = "Too many sign-ins have failed; wait before the next one."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(None, retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session that goes on. ``last_used_at`` is when it was last refreshed, or opened."""

    id: SessionId
    account_type: AccountType
    user_agent: str | None
    client_address: str | None
    methods: tuple[str, ...]
    started_at: datetime
    last_used_at: datetime
    expires_at: datetime
