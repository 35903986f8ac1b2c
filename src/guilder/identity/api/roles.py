"""Roles as others see them, what staff do to users, and how both are refused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from guilder.identity.api import AccountType, AccountView
from guilder.kernel.errors import Conflict, Family, NotFound, NotPermitted, Refusal
from guilder.kernel.ids import UserId


class UserNotFound(NotFound):
    """Nobody has this id, or they were erased."""

    message = "There is no such user."


class RoleNotFound(NotFound):
    """No role has this name."""

    message = "There is no such role."


class RoleExists(Conflict):
    """A role or a permission has this name already."""

    message = "This name is taken."


class RoleComesWithGuilder(Conflict):
    """What this role grants is decided by the release, not by the installation."""

    message = "This role comes with Guilder and cannot be changed."


class RoleInUse(Conflict):
    """Accounts have this role; take it from them first."""

    message = "Somebody has this role."


class RolesAreFixed(Conflict):
    """The role comes with the kind of account: it is neither given nor taken."""

    message = "This role comes with the account and cannot be given or taken."


class CannotJoinStaff(Conflict):
    """The user is frozen, or nobody has shown that the email they registered with is theirs."""

    message = "The email of this user was not proved to be theirs."


class LastAdministrator(Refusal):
    """Nobody would be left who may appoint administrators."""

    code = "LAST_ADMINISTRATOR"
    family = Family.CONFLICT
    message = "The last administrator cannot be removed; appoint another one first."


class BeyondOwnPermissions(NotPermitted):
    """It would give, take or touch permissions that the caller does not have."""

    message = "You cannot give or take permissions that you do not have."


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleView:
    """A role and what it grants."""

    name: str
    description: str
    permissions: tuple[str, ...]
    comes_with_guilder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionView:
    """A permission and what it lets somebody do."""

    name: str
    meaning: str
    comes_with_guilder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesView:
    """What an account is appointed to, and everything that this grants; nothing while frozen."""

    user_id: UserId
    account_id: UserId
    account_type: AccountType
    roles: tuple[str, ...]
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeView:
    """That a user was frozen, and perhaps unfrozen since."""

    reason: str
    frozen_by: UserId
    frozen_at: datetime
    unfrozen_by: UserId | None
    unfrozen_at: datetime | None
    unfreeze_reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFile:
    """A user as staff see them: their own account, and every freeze, the newest first."""

    account: AccountView
    freezes: tuple[FreezeView, ...]
