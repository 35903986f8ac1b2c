"""Facts that identity publishes. They name people by id only: names and contacts stay here."""

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
class UserLoggedIn:
    """Somebody signed in to one of a user's accounts."""

    TYPE: ClassVar[str] = "com.guilder.user.logged_in"

    user_id: UserId
    account_id: UserId
    account_type: str
    session_id: SessionId
    logged_in_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssigned:
    """An account was appointed to a role."""

    TYPE: ClassVar[str] = "com.guilder.user.role_assigned"

    user_id: UserId
    account_id: UserId
    role: str
    assigned_at: datetime
