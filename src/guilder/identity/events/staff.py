"""What staff and operators do, keyed by the user.

What is personal in it stands in ``personal``, which audit keeps encrypted with a key of the person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from guilder.identity.events import Reasoned
from guilder.kernel.ids import UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAssigned:
    """An account was appointed to a role by command, ``by`` nobody that Guilder knows."""

    TYPE: ClassVar[str] = "com.guilder.user.role_assigned"

    user_id: UserId
    account_id: UserId
    role: str
    assigned_at: datetime
    by: UserId | None = None
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactorsReset:
    """Staff took a user's second factors and recovery codes away, ``by`` whom, and signed them out.

    The password alone is enough until there is another factor. ``by`` None: the operator did it.
    """

    TYPE: ClassVar[str] = "com.guilder.user.second_factors_reset"

    user_id: UserId
    by: UserId | None
    personal: Reasoned
    reset_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLookedUp:
    """Staff looked for a user, ``by`` whom, or at one; ``user_id`` is None where nobody was found.

    ``named_by`` is how they named the user: id, email or phone. What they named is not in here.
    """

    TYPE: ClassVar[str] = "com.guilder.user.looked_up"

    user_id: UserId | None
    by: UserId
    named_by: str
    personal: Reasoned | None
    looked_up_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStatus:
    """What freezing and unfreezing change of a user."""

    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFrozen:
    """Staff have frozen a user, ``by`` whom: nobody signs in as them, and their wallets freeze."""

    TYPE: ClassVar[str] = "com.guilder.user.frozen"

    user_id: UserId
    freeze_id: UUID
    by: UserId
    before: UserStatus
    after: UserStatus
    personal: Reasoned
    frozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUnfrozen:
    """Staff have ended a freeze, ``by`` whom: what it froze is as it was before."""

    TYPE: ClassVar[str] = "com.guilder.user.unfrozen"

    user_id: UserId
    freeze_id: UUID
    by: UserId
    before: UserStatus
    after: UserStatus
    personal: Reasoned
    unfrozen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRoles:
    """What an account is appointed to."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolesChanged:
    """An account was appointed to other roles, ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.roles_changed"

    user_id: UserId
    account_id: UserId
    by: UserId
    before: AccountRoles
    after: AccountRoles
    personal: Reasoned
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGrants:
    """What a role grants."""

    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleDefined:
    """There is a new role, or one grants something else; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.role.defined"

    role: str
    by: UserId
    before: RoleGrants | None
    after: RoleGrants
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRemoved:
    """A role that nobody had is no more; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.role.removed"

    role: str
    by: UserId
    before: RoleGrants
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionDefined:
    """There is a new permission, for what stands beside Guilder and asks it; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.permission.defined"

    permission: str
    meaning: str
    by: UserId
    personal: Reasoned | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserErased:
    """A user was forgotten for good, ``by`` whom; None: by command. Others forget them, too."""

    TYPE: ClassVar[str] = "com.guilder.user.erased"

    user_id: UserId
    by: UserId | None
    reason: str
    erased_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldPlaced:
    """The law wants a user's data: they are not erased until it is lifted; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.legal_hold_placed"

    user_id: UserId
    hold_id: UUID
    by: UserId
    personal: Reasoned
    placed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHoldLifted:
    """The law does not want a user's data any more; ``by`` whom."""

    TYPE: ClassVar[str] = "com.guilder.user.legal_hold_lifted"

    user_id: UserId
    hold_id: UUID
    by: UserId
    personal: Reasoned
    lifted_at: datetime
