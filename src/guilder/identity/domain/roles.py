"""Pure rules of roles: what one grants, who may give it, and which come with an account."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from guilder.identity.api import AccountType
from guilder.identity.api.roles import BeyondOwnPermissions, RolesAreFixed
from guilder.kernel.errors import Refusal
from guilder.platform.permissions import CUSTOMER, PERMISSIONS, ROLES, USER_ADMIN, Definitions

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,39}")
_PERMISSION: Final = re.compile(r"[a-z][a-z0-9_]{1,39}:[a-z][a-z0-9_]{1,39}")
_RESOURCES: Final = frozenset(name.partition(":")[0] for name in PERMISSIONS)
_OF_ACCOUNT: Final[Mapping[AccountType, frozenset[str]]] = {
    AccountType.CUSTOMER: frozenset({CUSTOMER}),
    AccountType.USER_ADMIN: frozenset({USER_ADMIN}),
    AccountType.STAFF: frozenset(),
}
_COME_WITH_ACCOUNTS: Final = frozenset({CUSTOMER, USER_ADMIN})
_EVERYBODYS: Final = ROLES[CUSTOMER]
"""These reach one's own things only, so they are no power over anybody."""


def powers(permissions: Collection[str]) -> frozenset[str]:
    """Those of ``permissions`` that are a power over what is not one's own."""
    return frozenset(permissions) - _EVERYBODYS


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a role."""
    if _NAME.fullmatch(name) is None:
        return "must have 2 to 40 small letters, digits or underscores and begin with a letter"
    return None


def permission_problem(name: str) -> str | None:
    """What is wrong with the name of a permission that an installation adds."""
    if _PERMISSION.fullmatch(name) is None:
        return "must read resource:action, in small letters, digits and underscores"
    if name.partition(":")[0] in _RESOURCES:
        return "names a resource of Guilder's own; later releases may give it a meaning"
    return None


def unknown(permissions: Collection[str], *, defined: Definitions) -> list[str]:
    """Those of ``permissions`` that nobody has declared."""
    return sorted(set(permissions) - PERMISSIONS.keys() - defined.permissions)


def next_roles(
    current: frozenset[str], wanted: frozenset[str], *, of: AccountType
) -> frozenset[str] | Refusal:
    """The roles after an account is appointed to ``wanted`` and to nothing else, or why not.

    What comes with the account stays, named or not.
    """
    inherent = _OF_ACCOUNT[of]
    strangers = (wanted & _COME_WITH_ACCOUNTS) - inherent
    if strangers or (of is AccountType.USER_ADMIN and wanted - inherent):
        return RolesAreFixed()
    return wanted | (current & inherent)


def judge_change(
    before: frozenset[str], after: frozenset[str], *, held: frozenset[str], defined: Definitions
) -> Refusal | None:
    """Why whoever holds these permissions may not change roles ``before`` to ``after``.

    Each role that is given and each that is taken must grant no power they lack.
    """
    moved = defined.granted(before ^ after)
    return BeyondOwnPermissions() if powers(moved) - held else None
