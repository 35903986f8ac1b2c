"""What each role may do: one static table of permissions, ``resource:action``.

A token carries roles; every service expands them here, so that what a role grants changes with a
release and not with the tokens that are out. ``own`` actions reach only what belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

CUSTOMER: Final = "customer"
USER_ADMIN: Final = "user_admin"
SUPPORT: Final = "support"
COMPLIANCE: Final = "compliance"
OPERATIONS: Final = "operations"
ADMIN: Final = "admin"

_SUPPORT: Final = frozenset(
    {
        "users:read",
        "wallets:read_any",
        "payments:read_any",
        "notifications:read_any",
        "webhooks:read_any",
    }
)
_COMPLIANCE: Final = _SUPPORT | {"audit:read", "ledger:read", "wallets:freeze_any"}
_OPERATIONS: Final = _SUPPORT | {
    "ledger:read",
    "ledger:write",
    "wallets:adjust",
    "wallets:freeze_any",
    "payments:reverse_any",
    "notifications:send",
}

ROLES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        CUSTOMER: frozenset(
            {
                "wallets:read",
                "wallets:write",
                "payments:read",
                "payments:write",
                "ledger:own",
                "webhooks:read",
                "webhooks:write",
            }
        ),
        USER_ADMIN: frozenset(),
        SUPPORT: _SUPPORT,
        COMPLIANCE: _COMPLIANCE,
        OPERATIONS: _OPERATIONS,
        ADMIN: _COMPLIANCE | _OPERATIONS | {"users:write", "roles:write"},
    }
)
"""Every role there is. A user-admin account sees verification codes and never moves money."""


@lru_cache(maxsize=256)
def _union(roles: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """Everything that ``roles`` grant together. An unknown role grants nothing."""
    return _union(frozenset(roles))
