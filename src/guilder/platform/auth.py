"""Who is calling: what an access token says, after its signature has been checked."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from guilder.kernel.ids import SessionId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The subject of a verified access token: a person, or a machine client with scopes."""

    user_id: UserId
    roles: frozenset[str]
    permissions: frozenset[str]
    account_type: str
    session_id: SessionId | None
    token_id: UUID

    def may(self, permission: str) -> bool:
        """Whether one of the caller's roles or scopes grants ``permission``."""
        return permission in self.permissions
