"""Facts that identity publishes, keyed by the user. What is personal in them is encrypted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from guilder.kernel.ids import SessionId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A customer exists, with the user-admin account that is paired with it."""

    TYPE: ClassVar[str] = "com.guilder.user.registered"

    user_id: UserId
    user_admin_account_id: UserId
    registered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDetails:
    """What `UserContactChanged.sealed` holds, as JSON."""

    full_name: str
    email: str | None
    phone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserContactChanged:
    """A user has a name and addresses, or has other ones now.

    ``sealed`` is `PersonalDetails`, encrypted with an outer key (`guilder.platform.envelopes`) for
    `contact_place`, in base64: only who has the installation's key folder can read it.
    """

    TYPE: ClassVar[str] = "com.guilder.user.contact_changed"

    user_id: UserId
    sealed: str
    has_email: bool
    has_phone: bool
    changed_at: datetime


def contact_place(user_id: UserId) -> bytes:
    """What a user's sealed details are bound to, so that they open for nobody else."""
    return f"identity.users|contact|{user_id}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLoggedIn:
    """Somebody signed in to one of a user's accounts.

    ``device`` tells one program on one kind of device from another, and nothing more: a digest of
    what it calls itself. None: it does not say.
    """

    TYPE: ClassVar[str] = "com.guilder.user.logged_in"

    user_id: UserId
    account_id: UserId
    account_type: str
    session_id: SessionId
    logged_in_at: datetime
    device: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssigned:
    """An account was appointed to a role."""

    TYPE: ClassVar[str] = "com.guilder.user.role_assigned"

    user_id: UserId
    account_id: UserId
    role: str
    assigned_at: datetime
