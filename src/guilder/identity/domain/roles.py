"""Pure rules of roles: how they are named, and which come with an account."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from guilder.identity.api import AccountType
from guilder.identity.api.roles import RolesAreFixed
from guilder.kernel.errors import Refusal

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,39}")
_PERMISSION: Final = re.compile(r"[a-z][a-z0-9_]{1,39}:[a-z][a-z0-9_]{1,39}")
_OF_ACCOUNT: Final[Mapping[AccountType, frozenset[str]]] = {
    # the role of such an account is named as the account's type is
    AccountType.CUSTOMER: frozenset({AccountType.CUSTOMER.value}),
    AccountType.USER_ADMIN: frozenset({AccountType.USER_ADMIN.value}),
    AccountType.STAFF: frozenset(),
}
_COME_WITH_ACCOUNTS: Final = frozenset().union(*_OF_ACCOUNT.values())


def name_problem(name: str) -> str | None:
    """What is wrong with the name of a role."""
    if _NAME.fullmatch(name) is None:
        return "must have 2 to 40 small letters, digits or underscores and begin with a letter"
    return None


def permission_problem(name: str, *, own_resources: Collection[str]) -> str | None:
    """What is wrong with the name of a permission that an installation adds."""
    if _PERMISSION.fullmatch(name) is None:
        return "must read resource:action, in small letters, digits and underscores"
    if name.partition(":")[0] in own_resources:
        return "names a resource of Guilder's own; later releases may give it a meaning"
    return None


def next_roles(
    current: frozenset[str], wanted: frozenset[str], *, of: AccountType
) -> frozenset[str] | Refusal:
    """The roles after an account is appointed to ``wanted`` and to nothing else, or why not.

    What comes with the account stays, named or not.
    """
    inherent = _OF_ACCOUNT.get(of, frozenset())
    strangers = (wanted & _COME_WITH_ACCOUNTS) - inherent
    if strangers or (of is AccountType.USER_ADMIN and wanted - inherent):
        return RolesAreFixed()
    return wanted | (current & inherent)
