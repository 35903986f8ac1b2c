"""Who is calling: what an access token says, after its signature has been checked.

A verified token is remembered until it expires, so the hot path pays one dictionary look-up.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import SessionId, UserId
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.keys import UnixTime, VerificationKeys
from guilder.platform.permissions import permissions_of

ISSUER: Final = "guilder"
AUDIENCE: Final = "guilder"
CLOCK_SKEW_S: Final = 5
"""How far the clock of whoever signed may be ahead of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The subject of a verified access token: a person, or a machine client with scopes."""

    user_id: UserId
    roles: frozenset[str]
    permissions: frozenset[str]
    account_type: str
    session_id: SessionId | None
    token_id: UUID
    customer_id: UserId | None = None
    """The customer behind the account: itself, or whom a user-admin account is paired with."""
    expires_at: int | None = None
    """When the token ends, in Unix seconds, for what goes on after it was looked at."""

    def may(self, permission: str) -> bool:
        """Whether one of the caller's roles or scopes grants ``permission``."""
        return permission in self.permissions


_Known: TypeAlias = tuple[Caller, int]


class TokenVerifier:
    """Turns access tokens into callers, remembering the ones that were good.

    The memory is bounded: two generations of ``remembered`` tokens each, so what is used stays.
    """

    def __init__(
        self,
        keys: VerificationKeys,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        remembered: int = 8192,
        now: UnixTime = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._remembered = remembered
        self._now = now
        self._young: dict[str, _Known] = {}
        self._old: dict[str, _Known] = {}

    def cached(self, token: str) -> Caller | None:
        """The caller of a token that was verified before and has not expired, else None."""
        known = self._young.get(token)
        if known is None:
            known = self._old.get(token)
            if known is None:
                return None
            self._remember(token, known)
        return known[0] if known[1] > self._now() else None

    async def verify(self, token: str) -> Caller:
        """The caller of ``token``, everything about it checked.

        Raises:
            Unauthenticated: it is malformed, expired, not for us, or not signed by a valid key.
        """
        caller = self.cached(token)
        if caller is not None:
            return caller
        key = await self._keys.find(access_tokens.key_id(token))
        if key is None:
            raise Unauthenticated
        claims = access_tokens.read(token, key=key)
        self._judge(claims)
        caller = _caller(claims)
        self._remember(token, (caller, claims.exp))
        return caller

    def _judge(self, claims: AccessClaims) -> None:
        now = self._now()
        latest = now + CLOCK_SKEW_S
        good = (
            claims.iss == self._issuer
            and claims.aud == self._audience
            and claims.exp > now
            and claims.exp > claims.iat
            and claims.iat <= latest
            and (claims.nbf is None or claims.nbf <= latest)
        )
        if not good:
            raise Unauthenticated

    def _remember(self, token: str, known: _Known) -> None:
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, {}
        self._young[token] = known


def _caller(claims: AccessClaims) -> Caller:
    roles = frozenset(claims.roles)
    return Caller(
        user_id=UserId(claims.sub),
        roles=roles,
        permissions=permissions_of(roles),
        account_type=claims.account_type,
        session_id=None if claims.sid is None else SessionId(claims.sid),
        token_id=claims.jti,
        customer_id=None if claims.customer_id is None else UserId(claims.customer_id),
        expires_at=claims.exp,
    )
