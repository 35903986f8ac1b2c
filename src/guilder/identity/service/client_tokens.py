"""Tokens of machine clients: given for a secret, looked at, and ended (RFC 6749, 7662, 7009)."""

from __future__ import annotations

from guilder.identity.api import AccountType
from guilder.identity.api.clients import (
    ClientCredentials,
    ClientToken,
    Introspected,
    InvalidClient,
    InvalidScope,
    TokenOfAnother,
)
from guilder.identity.domain import clients as rules
from guilder.identity.store import clients as store
from guilder.identity.store import revocations
from guilder.identity.store.clients import StoredClient
from guilder.kernel.errors import Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.auth import CLIENT, Caller, TokenVerifier
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.keys import ACCESS_TOKEN_LIFE_S, KeyFolder, UnixTime
from guilder.platform.standing import Standing

INTROSPECT = "tokens:introspect"
_SHUT_OUT = frozenset({"frozen", "erased"})


class ClientTokens:
    """Gives and judges tokens of machine clients, as what is revoked stands in ``standing``."""

    def __init__(
        self,
        *,
        db: Database,
        keys: KeyFolder,
        standing: Standing,
        issuer: str,
        audience: str,
        now: UnixTime,
    ) -> None:
        self._db = db
        self._keys = keys
        self._standing = standing
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._verifier = TokenVerifier(
            keys, standing=standing, issuer=issuer, audience=audience, remembered=256, now=now
        )

    async def give(self, shown: ClientCredentials, *, scopes: tuple[str, ...]) -> ClientToken:
        """An access token for a client, with ``scopes`` or, when there are none, all it has.

        What a user's client gets is bounded by what the user may just now.

        Raises:
            InvalidClient: there is no such client, its secret is another, or its user is frozen.
            InvalidScope: it does not have one of the scopes.
            Overloaded: the database is away.
        """
        key = await self._keys.signing_key()
        client = await self._authenticated(shown, is_used=True)
        held = await self._held_by(client)
        granted = tuple(scope for scope in client.scopes if scope in held)
        if not granted or not held.issuperset(scopes):
            raise InvalidScope
        granted = scopes or granted
        issued_at = int(self._now())
        claims = AccessClaims(
            iss=self._issuer,
            aud=self._audience,
            sub=client.id,
            jti=new_id(),
            iat=issued_at,
            exp=issued_at + ACCESS_TOKEN_LIFE_S,
            account_type=CLIENT,
            roles=client.roles,
            customer_id=_customer(client),
            sid=client.tokens_id,
            client_id=client.id,
            scope=" ".join(granted),
            owner_id=client.owner_id,
        )
        return ClientToken(
            token=access_tokens.sign(claims, key=key),
            expires_in_s=ACCESS_TOKEN_LIFE_S,
            scopes=granted,
        )

    async def introspect(self, shown: ClientCredentials, *, token: str) -> Introspected | None:
        """What a token says; None when it is not good, or not for this client to know.

        A client may ask about its own tokens; about everybody's with the scope `INTROSPECT`.

        Raises:
            InvalidClient: there is no such client, its secret is another, or its user is frozen.
            Overloaded: the database is away.
        """
        client = await self._authenticated(shown)
        try:
            caller, claims = await self._read(token)
        except Unauthenticated:
            return None
        if caller.client_id != client.id and INTROSPECT not in await self._held_by(client):
            return None
        return Introspected(
            subject=UserId(claims.sub),
            client_id=caller.client_id,
            scopes=tuple(sorted(caller.permissions)),
            account_type=caller.account_type,
            issuer=claims.iss,
            audience=claims.aud,
            token_id=str(claims.jti),
            issued_at=claims.iat,
            expires_at=claims.exp,
        )

    async def revoke(self, shown: ClientCredentials, *, token: str) -> None:
        """End one of a client's tokens. One that is not good any more is left as it is.

        Raises:
            InvalidClient: there is no such client, its secret is another, or its user is frozen.
            TokenOfAnother: the token is good, and somebody else's.
            Overloaded: the database is away.
        """
        client = await self._authenticated(shown)
        try:
            caller, _ = await self._read(token)
        except Unauthenticated:
            return
        if caller.client_id != client.id:
            raise TokenOfAnother
        await self._db.run(lambda tx: revocations.end_tokens(tx, [caller.token_id]))

    async def _authenticated(
        self, shown: ClientCredentials, *, is_used: bool = False
    ) -> StoredClient:
        async def work(tx: Tx) -> StoredClient | None:
            client = await store.stored(tx, shown.id)
            is_right = rules.matches(shown.secret, digests=client.digests if client else ())
            if client is None or not is_right or client.owner_status in _SHUT_OUT:
                return None
            if is_used:
                await store.mark_used(tx, client.id)
            return client

        found = await self._db.run(work)
        if found is None:
            raise InvalidClient(claimed=str(shown.id))
        return found

    async def _held_by(self, client: StoredClient) -> frozenset[str]:
        """The client's scopes, as far as its owner has them."""
        scopes = frozenset(client.scopes)
        if client.owner_id is None:
            return scopes
        await self._standing.ensure_fed()
        return scopes & self._standing.permissions_of(frozenset(client.roles))

    async def _read(self, token: str) -> tuple[Caller, AccessClaims]:
        caller = await self._verifier.verify(token)
        key = await self._keys.find(access_tokens.key_id(token))
        if key is None:
            raise Unauthenticated
        return caller, access_tokens.read(token, key=key)


def _customer(client: StoredClient) -> UserId | None:
    return client.owner_id if client.owner_type == AccountType.CUSTOMER else None
