"""GitHub, which knows OAuth 2 and no ID tokens: who somebody is, its API says."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec

from guilder.identity.api.outside import Ask, OutsidePerson
from guilder.identity.domain import outside as rules
from guilder.identity.service.oidc_provider import Registered
from guilder.identity.service.provider_calls import ProviderCalls

PUBLIC: Final = "https://github.com"
_PUBLIC_API: Final = "https://api.github.com"
_SCOPE: Final = "read:user user:email"


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str | None = None


class _User(msgspec.Struct, frozen=True, kw_only=True):
    id: int


class _Email(msgspec.Struct, frozen=True, kw_only=True):
    email: str
    primary: bool
    verified: bool


class GitHubProvider:
    """The `guilder.identity.api.outside.Provider` of GitHub, or of a GitHub Enterprise Server."""

    def __init__(self, *, site: str, registered: Registered, calls: ProviderCalls) -> None:
        self._site = site
        # an Enterprise Server has its API under its own address
        self._api = _PUBLIC_API if site == PUBLIC else f"{site}/api/v3"
        self._registered = registered
        self._calls = calls

    async def authorization_url(self, ask: Ask) -> str:
        """Where the browser goes, with PKCE (S256) and state."""
        query = urlencode(
            {
                "client_id": self._registered.client_id,
                "redirect_uri": ask.redirect_uri,
                "scope": _SCOPE,
                "state": ask.state,
                "allow_signup": "false",
                "code_challenge": rules.challenge(ask.verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{self._site}/login/oauth/authorize?{query}"

    async def person(self, ask: Ask, *, code: str, issuer: str | None) -> OutsidePerson:
        """Whom the API names to the token that is given for ``code``.

        Raises:
            OutsideSignInFailed: no token is given for it.
            SignInProviderUnavailable: GitHub cannot be reached or understood.
        """
        if issuer is not None and not f"{issuer}/".startswith(f"{self._site}/"):
            raise self._calls.refused("another issuer")
        given = await self._calls.exchange(
            f"{self._site}/login/oauth/access_token",
            _Token,
            fields={
                "client_id": self._registered.client_id,
                "client_secret": self._registered.client_secret,
                "code": code,
                "redirect_uri": ask.redirect_uri,
                "code_verifier": ask.verifier,
            },
        )
        token = given.access_token
        # errors come with status 200; and what we pass on as a header is one line
        if token is None or not token.isascii() or not token.isprintable():
            raise self._calls.refused("no token")
        user = await self._calls.get(f"{self._api}/user", _User, token=token)
        emails = await self._calls.get(f"{self._api}/user/emails", list[_Email], token=token)
        verified = next((one.email for one in emails if one.primary and one.verified), None)
        return OutsidePerson(issuer=self._site, subject=str(user.id), verified_email=verified)
