"""What others may know of identity: users as seen from outside, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from guilder.kernel.errors import Conflict, Unauthenticated
from guilder.kernel.ids import SessionId, UserId

BY_COMMAND: Final = "By command."
"""Why somebody was appointed where the operator gave no reason."""


class AccountType(StrEnum):
    """In which capacity an account acts."""

    CUSTOMER = "customer"
    USER_ADMIN = "user_admin"
    STAFF = "staff"


class AlreadyRegistered(Conflict):
    """Somebody has registered with this email or phone. ``details["field"]`` says which."""

    message = "This is already registered."

    def __init__(self, *, field: str) -> None:
        super().__init__(f"This {field} is already registered.", field=field)


class InvalidCredentials(Unauthenticated):
    """No such user, no such account, or another password: the answer does not tell which."""

    message = "The email, the phone or the password is wrong."


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """Who wants to be a user, as they wrote it. ``phone`` is None for staff without one."""

    email: str
    full_name: str
    phone: str | None
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What somebody signs in with: one of email and phone, and which of their accounts."""

    email: str | None = None
    phone: str | None = None
    password: str = field(repr=False)
    account_type: AccountType | None = None
    otp: str | None = field(default=None, repr=False)
    """A code of a second factor, where the user has one."""
    device_token: str | None = field(default=None, repr=False)
    """What the device was remembered by at an earlier sign-in."""
    remember_device: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """One account and the user behind it. ``id`` is the account's, as in a token's ``sub``."""

    id: UserId
    user_id: UserId
    account_type: AccountType
    email: str
    phone: str | None
    full_name: str
    status: str
    kyc_status: str
    roles: tuple[str, ...]
    created_at: datetime
    sign_in_epoch: int = 0
    """How often all of the user's sessions were ended; a proof of an earlier epoch is void."""
    email_verified: bool = False
    """Whether the user has proved that the email is theirs."""
    phone_verified: bool = False

    @property
    def customer_id(self) -> UserId | None:
        """The customer in whose matters the account acts; None for staff."""
        return None if self.account_type is AccountType.STAFF else self.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A session and a new access token that speaks for it. Times are Unix seconds."""

    token: str = field(repr=False)
    expires_at: int
    expires_in_s: int
    session_id: SessionId
    account: AccountView
    refresh_token: str = field(repr=False)
    refresh_expires_at: int
    device_token: str | None = field(default=None, repr=False)
    """What the device is remembered by; None: it is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointed:
    """A user who now has a staff role, and whether they were made for it."""

    user_id: UserId
    email: str
    created: bool


class Staff(Protocol):
    """Appoints staff. For the command line and, later, for other staff."""

    async def registered(self, email: str) -> AccountView | None:
        """The user who has this email, if anybody has.

        Raises:
            ValidationFailed: it is no email address.
        """
        ...

    async def appoint(
        self,
        *,
        email: str,
        role: str,
        full_name: str | None = None,
        password: str | None = None,
        reason: str = BY_COMMAND,
    ) -> Appointed:
        """Give the user with this email a staff role, making the user when there is none.

        An existing user keeps name and password; a new one needs both. Who becomes staff is signed
        out everywhere, and their machine clients and links to providers end: whoever made them had
        less to lose. Repeating it changes nothing.

        Raises:
            ValidationFailed: an unknown staff role, or a new user's details are missing or weak;
                the existing user is frozen, or has not proved that the email is theirs.
        """
        ...
