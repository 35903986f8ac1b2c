"""Who is calling: what an access token says, after its signature has been checked.

A verified token is remembered until it expires, so the hot path pays one dictionary look-up. What
was revoked since is `guilder.platform.standing`'s, and is asked on every request.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import SessionId, UserId
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.identifiers import native
from guilder.platform.keys import UnixTime, VerificationKeys
from guilder.platform.standing import Standing

ISSUER: Final = "guilder"
AUDIENCE: Final = "guilder"
CLIENT: Final = "client"
"""The account type of machine clients."""
CLOCK_SKEW_S: Final = 5
"""How far the clock of whoever signed may be ahead of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The subject of a verified access token: a person, or a machine client with scopes.

    A client that a user made acts in that user's name: ``user_id`` is the user's, and what it may
    is what its scopes and the user's roles both grant. It has no roles of its own.
    """

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
    client_id: UserId | None = None
    """The machine client; None for a person."""

    @property
    def actor_id(self) -> UserId:
        """Who is at work: the person, or the client and not whom it acts for."""
        return self.client_id or self.user_id

    def may(self, permission: str) -> bool:
        """Whether one of the caller's roles or scopes grants ``permission``."""
        return permission in self.permissions


@dataclass(slots=True, kw_only=True)
class _Known:
    """A genuine token, and who it spoke for when the standing had this version."""

    claims: AccessClaims
    caller: Caller | None
    version: int


class TokenVerifier:
    """Turns access tokens into callers, remembering the ones that were good.

    The memory is bounded: two generations of ``remembered`` tokens each, so what is used stays.
    """

    def __init__(
        self,
        keys: VerificationKeys,
        *,
        standing: Standing,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
        remembered: int = 8192,
        now: UnixTime = time.time,
    ) -> None:
        self._keys = keys
        self._standing = standing
        self._issuer = issuer
        self._audience = audience
        self._remembered = remembered
        self._now = now
        self._young: dict[str, _Known] = {}
        self._old: dict[str, _Known] = {}

    def cached(self, token: str) -> Caller | None:
        """The caller of a token that was verified before and is still good.

        None says nothing about the token: it may be new here, it may have ended, or what was
        revoked could not be read lately.
        """
        known = self._known(token)
        if known is None or known.claims.exp <= self._now() or not self._standing.is_fed:
            return None
        return self._caller(known)

    async def verify(self, token: str) -> Caller:
        """The caller of ``token``, everything about it checked.

        Raises:
            Unauthenticated: it is malformed, expired, revoked, not for us, or not signed by a
                valid key.
            Overloaded: nobody can say whether it was revoked, because the database is away.
        """
        known = self._known(token)
        if known is None:
            key = await self._keys.find(access_tokens.key_id(token))
            if key is None:
                raise Unauthenticated
            claims = access_tokens.read(token, key=key)
            self._judge(claims)
            known = _Known(claims=claims, caller=None, version=-1)
            self._remember(token, known)
        else:
            self._judge(known.claims)
        await self._standing.ensure_fed()
        caller = self._caller(known)
        if caller is None:
            raise Unauthenticated
        return caller

    def _known(self, token: str) -> _Known | None:
        known = self._young.get(token)
        if known is None:
            known = self._old.get(token)
            if known is not None:
                self._remember(token, known)
        return known

    def _caller(self, known: _Known) -> Caller | None:
        version = self._standing.version
        if known.version != version:
            known.caller = _caller(known.claims, standing=self._standing)
            known.version = version
        return known.caller

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
            and claims.client_id == (claims.sub if claims.account_type == CLIENT else None)
        )
        if not good:
            raise Unauthenticated

    def _remember(self, token: str, known: _Known) -> None:
        if len(self._young) >= self._remembered:
            self._old, self._young = self._young, {}
        self._young[token] = known


def _caller(claims: AccessClaims, *, standing: Standing) -> Caller | None:
    """Who a genuine token speaks for as things stand; None: for nobody any more."""
    people = (claims.sub, claims.customer_id, claims.owner_id)
    if standing.refuses((claims.sid, claims.jti), people=people):
        return None
    if claims.client_id is not None:
        return _client(claims, client_id=claims.client_id, standing=standing)
    roles = standing.roles_of(claims.sub, told=frozenset(claims.roles))
    return Caller(
        user_id=UserId(native(claims.sub)),
        roles=roles,
        permissions=standing.permissions_of(roles),
        account_type=claims.account_type,
        session_id=None if claims.sid is None else SessionId(claims.sid),
        token_id=claims.jti,
        customer_id=None if claims.customer_id is None else UserId(claims.customer_id),
        expires_at=claims.exp,
    )


def _client(claims: AccessClaims, *, client_id: UUID, standing: Standing) -> Caller:
    permissions = frozenset((claims.scope or "").split())
    if claims.owner_id is not None:
        roles = standing.roles_of(claims.owner_id, told=frozenset(claims.roles))
        permissions &= standing.permissions_of(roles)
    return Caller(
        user_id=UserId(claims.owner_id or client_id),
        roles=frozenset(),
        permissions=permissions,
        account_type=claims.account_type,
        session_id=None,
        token_id=claims.jti,
        customer_id=None if claims.customer_id is None else UserId(claims.customer_id),
        expires_at=claims.exp,
        client_id=UserId(client_id),
    )
