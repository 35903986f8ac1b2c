"""The permissions there are, ``resource:action``, and what each of Guilder's own roles grants.

A token carries roles; every service expands them, so that what a role grants changes with a
release and not with the tokens that are out. Whoever has a permission that does not say ``any``
may use it on their own things only. Roles that an installation adds are identity's
(`guilder.platform.standing` knows them everywhere).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from msgspec import Struct

CUSTOMER: Final = "customer"
USER_ADMIN: Final = "user_admin"
SUPPORT: Final = "support"
COMPLIANCE: Final = "compliance"
OPERATIONS: Final = "operations"
ADMIN: Final = "admin"

PERMISSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "wallets:read": "See one's own wallets.",
        "wallets:write": "Open and change one's own wallets.",
        "wallets:read_any": "See everybody's wallets. No route asks for it yet.",
        "wallets:freeze_any": "Freeze and unfreeze everybody's wallets.",
        "wallets:adjust": "Correct the balance of a wallet. No route asks for it yet.",
        "payments:read": "See one's own payments.",
        "payments:write": "Pay from one's own wallets.",
        "payments:read_any": "See everybody's payments. No route asks for it yet.",
        "payments:reverse_any": "Reverse everybody's payments. No route asks for it yet.",
        "ledger:own": "See the ledger's accounts of one's own wallets.",
        "ledger:read": "See the whole ledger.",
        "ledger:write": "Post in the ledger.",
        "webhooks:read": "See one's own webhook endpoints.",
        "webhooks:write": "Add and change one's own webhook endpoints.",
        "webhooks:read_any": "See everybody's webhook endpoints.",
        "notifications:read_any": "See what was sent to everybody.",
        "notifications:send": "Send notices to users.",
        "audit:read": "Read the audit.",
        "verifications:read": "See what waits for one's confirmation, and the codes.",
        "users:read": "Find users and see who they are.",
        "users:write": "Change users.",
        "users:freeze": "Freeze and unfreeze users.",
        "users:hold": "Place and lift legal holds on users' data.",
        "users:erase": "Erase users for good.",
        "roles:own": "See one's own roles, and ask whether one may do something.",
        "roles:read": "See roles, and who has them.",
        "roles:write": "Define roles, and give and take them.",
        "clients:read": "See one's own machine clients.",
        "clients:write": "Make and end one's own machine clients.",
        "clients:read_any": "See the machine clients of the house.",
        "clients:write_any": "Make and end the machine clients of the house.",
        "tokens:introspect": "See whose any access token is, as a machine client.",
    }
)
"""Every permission that a route or a rule of Guilder asks for, and what it lets somebody do."""

OWN_RESOURCES: Final = frozenset(name.partition(":")[0] for name in PERMISSIONS)
"""What permissions of Guilder's own are about."""

RESERVED_RESOURCES: Final = OWN_RESOURCES | {
    "analytics",
    "backoffice",
    "cards",
    "customers",
    "fx",
    "identity",
    "kyc",
    "payroll",
    "risk",
    "social",
}
"""What an installation adds no permissions on: these, and what contexts to come will be about."""

_SUPPORT: Final = frozenset(
    {
        "users:read",
        "roles:own",
        "roles:read",
        "wallets:read_any",
        "payments:read_any",
        "notifications:read_any",
        "webhooks:read_any",
    }
)
_COMPLIANCE: Final = _SUPPORT | {
    "audit:read",
    "ledger:read",
    "users:freeze",
    "users:hold",
    "users:erase",
    "wallets:freeze_any",
}
_OPERATIONS: Final = _SUPPORT | {
    "ledger:read",
    "ledger:write",
    "users:freeze",
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
                "clients:read",
                "clients:write",
                "roles:own",
            }
        ),
        USER_ADMIN: frozenset({"verifications:read", "roles:own"}),
        SUPPORT: _SUPPORT,
        COMPLIANCE: _COMPLIANCE,
        OPERATIONS: _OPERATIONS,
        ADMIN: _COMPLIANCE
        | _OPERATIONS
        | {
            "users:write",
            "roles:write",
            "clients:read_any",
            "clients:write_any",
            "tokens:introspect",
        },
    }
)
"""Every role that comes with Guilder. A user-admin account sees codes and never moves money."""


class Definitions(Struct, frozen=True, kw_only=True):
    """What an installation adds: roles with what they grant, and permissions."""

    roles: Mapping[str, frozenset[str]]
    permissions: frozenset[str]

    def granted(self, roles: Iterable[str]) -> frozenset[str]:
        """Everything that ``roles`` grant together. An unknown role grants nothing.

        An administrator has every permission that was added.
        """
        named = frozenset(roles)
        added = (self.roles.get(role, frozenset()) for role in named - ROLES.keys())
        more = self.permissions if ADMIN in named else frozenset()
        return permissions_of(named).union(more, *added)

    def unknown(self, permissions: Iterable[str]) -> frozenset[str]:
        """Those of ``permissions`` that nobody has declared."""
        return frozenset(permissions) - PERMISSIONS.keys() - self.permissions


def powers(permissions: Iterable[str]) -> frozenset[str]:
    """Those of ``permissions`` that no customer has: a power over what is not one's own."""
    return frozenset(permissions) - ROLES[CUSTOMER]


@lru_cache(maxsize=256)
def _union(roles: frozenset[str]) -> frozenset[str]:
    return frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """Everything that ``roles`` grant together, of those that come with Guilder."""
    return _union(frozenset(roles))
