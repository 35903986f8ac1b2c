"""A provider that speaks OpenID Connect: found by its issuer, believed by its signature.

Its documents are kept for a while. A key that is not among those kept is looked for again, but
not more often than twice a minute, so that nobody makes us ask by inventing key ids.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey, import_key

from guilder.identity.api.outside import Ask, OutsidePerson
from guilder.identity.domain import outside as rules
from guilder.identity.domain.outside import IdClaims
from guilder.identity.service.provider_calls import ProviderCalls
from guilder.platform.keys import UnixTime

_ALGORITHMS: Final = ("RS256", "PS256", "ES256")
_SCOPE: Final = "openid email"
_URL: Final = re.compile(r"https?://[!-~]+")
_KEPT_S: Final = 3600.0
_UNKNOWN_KEY_EVERY_S: Final = 30.0
_LONGEST_TOKEN: Final = 16 * 1024
_LEAST_RSA_BITS: Final = 2048
_registry: Final = jws.JWSRegistry(algorithms=list(_ALGORITHMS))
Key = RSAKey | ECKey


class _Discovery(msgspec.Struct, frozen=True, kw_only=True):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = msgspec.field(
        default_factory=lambda: ["client_secret_basic"]
    )
    authorization_response_iss_parameter_supported: bool = False


class _Jwks(msgspec.Struct, frozen=True, kw_only=True):
    keys: list[dict[str, Any]]


class _Tokens(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """How a provider knows us."""

    client_id: str
    client_secret: str = field(repr=False)


class OidcProvider:
    """The `guilder.identity.api.outside.Provider` of one issuer."""

    def __init__(
        self,
        *,
        issuer: str,
        registered: Registered,
        calls: ProviderCalls,
        now: UnixTime = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._registered = registered
        self._calls = calls
        self._now = now
        self._clock = clock
        self._discovery: tuple[float, _Discovery] | None = None
        self._keys: tuple[float, dict[str | None, Key]] | None = None

    async def authorization_url(self, ask: Ask) -> str:
        """Where the browser goes, with PKCE (S256), state and nonce.

        Raises:
            SignInProviderUnavailable: the provider does not say where.
        """
        endpoint = (await self._discovered()).authorization_endpoint
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._registered.client_id,
                "redirect_uri": ask.redirect_uri,
                "scope": _SCOPE,
                "state": ask.state,
                "nonce": ask.nonce,
                "code_challenge": rules.challenge(ask.verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def person(self, ask: Ask, *, code: str, issuer: str | None) -> OutsidePerson:
        """Whom the ID token names that the provider gives for ``code``.

        Raises:
            OutsideSignInFailed: it gives none, or one that does not hold or answers another ask.
            SignInProviderUnavailable: it cannot be reached or understood.
        """
        found = await self._discovered()
        # RFC 9207: a code that another provider sent is not shown to this one
        must_say = found.authorization_response_iss_parameter_supported
        if (issuer or ("" if must_say else self._issuer)) != self._issuer:
            raise self._calls.refused("another issuer")
        tokens = await self._exchanged(found, ask, code=code)
        claims = await self._claims(tokens.id_token, found)
        problem = rules.id_token_problem(
            claims,
            issuer=self._issuer,
            client_id=self._registered.client_id,
            nonce=ask.nonce,
            now=int(self._now()),
        )
        if problem is not None:
            raise self._calls.refused(problem)
        is_verified = claims.email_verified is True
        return OutsidePerson(
            issuer=self._issuer,
            subject=claims.sub,
            verified_email=claims.email if is_verified else None,
        )

    async def _exchanged(self, found: _Discovery, ask: Ask, *, code: str) -> _Tokens:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ask.redirect_uri,
            "code_verifier": ask.verifier,
        }
        client_id, secret = self._registered.client_id, self._registered.client_secret
        authorization = None
        if "client_secret_basic" in found.token_endpoint_auth_methods_supported:
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
            authorization = f"Basic {b64encode(pair).decode('ascii')}"
        else:
            fields |= {"client_id": client_id, "client_secret": secret}
        return await self._calls.exchange(
            found.token_endpoint, _Tokens, fields=fields, authorization=authorization
        )

    async def _claims(self, token: str, found: _Discovery) -> IdClaims:
        """What an ID token says, its signature by one of the provider's keys checked."""
        if len(token) > _LONGEST_TOKEN:
            raise self._calls.refused("token too long")
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=_registry)
            header = signed.headers()
        except (JoseError, ValueError, AttributeError, RecursionError) as error:
            raise self._calls.refused("token malformed") from error
        key = await self._key(header.get("kid"), found)
        if header.get("alg") not in _ALGORITHMS or key is None:
            raise self._calls.refused("unknown key or algorithm")
        try:
            genuine = jws.validate_compact(signed, key, registry=_registry)
            claims = msgspec.json.decode(signed.payload, type=IdClaims) if genuine else None
        except (JoseError, ValueError, RecursionError) as error:
            raise self._calls.refused("signature or claims") from error
        if claims is None:
            raise self._calls.refused("signature")
        return claims

    async def _discovered(self) -> _Discovery:
        if self._discovery is not None and self._clock() - self._discovery[0] < _KEPT_S:
            return self._discovery[1]
        url = f"{self._issuer.removesuffix('/')}/.well-known/openid-configuration"
        found = await self._calls.get(url, _Discovery)
        places = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri)
        # a document of another issuer would have us believe that one's keys
        if found.issuer != self._issuer or not all(map(self._is_address, places)):
            raise self._calls.unavailable("discovery of another issuer")
        self._discovery = (self._clock(), found)
        return found

    def _is_address(self, text: str) -> bool:
        """Whether a browser or we may be sent there: a URL in one line, as safe as the issuer's."""
        safe = {"https", self._issuer.partition(":")[0]}
        return _URL.fullmatch(text) is not None and text.partition(":")[0] in safe

    async def _key(self, kid: object, found: _Discovery) -> Key | None:
        name = kid if isinstance(kid, str) else None
        kept = self._keys
        age_s = _KEPT_S if kept is None else self._clock() - kept[0]
        if (
            kept is None
            or age_s >= _KEPT_S
            or (name not in kept[1] and age_s >= _UNKNOWN_KEY_EVERY_S)
        ):
            document = await self._calls.get(found.jwks_uri, _Jwks)
            kept = self._keys = (self._clock(), _usable(document.keys))
        if name is None and len(kept[1]) == 1:
            return next(iter(kept[1].values()))
        return kept[1].get(name)


def _usable(members: list[dict[str, Any]]) -> dict[str | None, Key]:
    """The public keys that may have signed an ID token; what we do not know is left aside."""
    keys: dict[str | None, Key] = {}
    for member in members:
        key = _signer(member)
        if key is not None:
            kid = member.get("kid")
            keys[kid if isinstance(kid, str) else None] = key
    return keys


def _signer(member: Mapping[str, Any]) -> Key | None:
    if member.get("use", "sig") != "sig" or member.get("kty") not in ("RSA", "EC"):
        return None
    try:
        key = import_key(dict(member))
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if key.public_key.key_size >= _LEAST_RSA_BITS else None
    return key if isinstance(key, ECKey) else None
