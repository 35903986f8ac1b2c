"""How one-time codes and reset tokens refuse, and what is said about those that are sent."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from guilder.kernel.errors import Family, Refusal, ValidationFailed

CODE_LIFE_S: Final = 5 * 60
RESET_LIFE_S: Final = 30 * 60


class ResetTokenUnusable(Refusal):
    """The token is unknown, was used, or is too old; or the password was changed since."""

    code = "RESET_TOKEN_UNUSABLE"
    family = Family.INVALID
    message = "This reset token cannot be used; ask for another."


class TooManyCodesSent(Refusal):
    """Codes were sent to this address just now, or often within an hour.

    ``details["retry_after_s"]`` says when the next one is.
    """

    code = "TOO_MANY_CODES_SENT"
    family = Family.TOO_MANY
    message = "A code was sent a moment ago; wait before asking for another."

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(None, retry_after_s=retry_after_s)


class NoSuchContact(ValidationFailed):
    """The user has no address of this kind."""

    message = "There is no such address to verify."

    def __init__(self) -> None:
        super().__init__(None, fields={"contact": "is an address that this user does not have"})


class WrongPassword(ValidationFailed):
    """The current password is another."""

    message = "The current password is wrong."

    def __init__(self) -> None:
        super().__init__(None, fields={"current_password": "is not the password"})


class CodeSent(Struct, frozen=True, kw_only=True):
    """A code is on its way, in words for people. ``expires_in`` is in seconds."""

    message: str
    expires_in: int


class ContactStanding(Struct, frozen=True, kw_only=True):
    """Which of a user's addresses are proved to be theirs, and since when."""

    email_verified_at: datetime | None
    phone_verified_at: datetime | None
