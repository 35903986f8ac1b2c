"""Access tokens as identity gives them out: what they say of an account and its session."""

from __future__ import annotations

from datetime import datetime

from guilder.identity.api import AccountView, SignedIn
from guilder.kernel.ids import SessionId
from guilder.platform import access_tokens
from guilder.platform.access_tokens import AccessClaims
from guilder.platform.identifiers import new_id
from guilder.platform.keys import ACCESS_TOKEN_LIFE_S, KeyFolder, SigningKey, UnixTime


class AccessTokens:
    """Signs tokens for sessions."""

    def __init__(self, *, keys: KeyFolder, issuer: str, audience: str, now: UnixTime) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now

    async def key(self) -> SigningKey:
        """The key to sign with, asked for before anything is written that a token speaks of."""
        return await self._keys.signing_key()

    def signed_in(
        self,
        account: AccountView,
        *,
        session_id: SessionId,
        key: SigningKey,
        refresh_token: str,
        refresh_expires_at: datetime,
        device_token: str | None = None,
    ) -> SignedIn:
        """What is answered for a session, with a new access token signed with ``key``."""
        issued_at = int(self._now())
        ends = int(refresh_expires_at.timestamp())
        # No token outlives its session; the clocks of two machines may differ by a little.
        expires_at = max(issued_at + 1, min(issued_at + ACCESS_TOKEN_LIFE_S, ends))
        claims = AccessClaims(
            iss=self._issuer,
            aud=self._audience,
            sub=account.id,
            jti=new_id(),
            iat=issued_at,
            exp=expires_at,
            account_type=account.account_type.value,
            roles=account.roles,
            email=account.email,
            customer_id=account.customer_id,
            sid=session_id,
        )
        return SignedIn(
            token=access_tokens.sign(claims, key=key),
            expires_at=expires_at,
            expires_in_s=expires_at - issued_at,
            session_id=session_id,
            account=account,
            refresh_token=refresh_token,
            refresh_expires_at=ends,
            device_token=device_token,
        )
