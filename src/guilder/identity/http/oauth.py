"""OAuth 2.0 for machine clients: token, introspection, revocation, and the discovery document.

Requests and answers are as the standards have them (RFC 6749, 7662, 7009, 8414), not as the rest of
the API: a form comes in, plain JSON goes out, and errors have OAuth's names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from guilder.identity.api.clients import (
    ClientCredentials,
    InvalidClient,
    InvalidScope,
    InvalidTokenRequest,
    TokenOfAnother,
    UnsupportedGrantType,
)
from guilder.identity.domain.clients import FOR_PEOPLE, Unreadable, read_scopes
from guilder.identity.http.client_credentials import read_credentials
from guilder.identity.service.client_tokens import ClientTokens
from guilder.kernel.errors import BadRequest, Refusal
from guilder.kernel.ids import UserId
from guilder.platform.http.form import read_form
from guilder.platform.http.paths import API_PREFIX
from guilder.platform.http.route import Access, AnyAnswer, RawAnswer, RefusedAnswer, Request, Route
from guilder.platform.keys import ALGORITHM, JWKS_MAX_AGE_S, JWKS_PATH
from guilder.platform.permissions import PERMISSIONS

_TAG: Final = "OAuth"
_JSON: Final = "application/json"
_GRANT: Final = "client_credentials"
_METHODS: Final = ("client_secret_basic", "client_secret_post")
DISCOVERY_PATHS: Final = (
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
)
_IN_WORDS_OF_OAUTH: Final = (
    InvalidClient,
    InvalidScope,
    InvalidTokenRequest,
    TokenOfAnother,
    UnsupportedGrantType,
)
Fields: TypeAlias = Mapping[str, str]
OAuthRefusal: TypeAlias = (
    InvalidClient | InvalidScope | InvalidTokenRequest | TokenOfAnother | UnsupportedGrantType
)


class TokenForm(msgspec.Struct, kw_only=True):
    """What a token is asked for with. The id and the secret may also come as Basic."""

    grant_type: str
    scope: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class LookedAtForm(msgspec.Struct, kw_only=True):
    """The token that it is about. The id and the secret may also come as Basic."""

    token: str
    token_type_hint: str | None = None
    client_id: str | None = None
    client_secret: str | None = None


class TokenBody(msgspec.Struct, kw_only=True):
    """An access token. ``expires_in`` is in seconds, ``scope`` what it grants."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class IntrospectionBody(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a token says, in Unix seconds; no more than ``active`` of one that is not good."""

    active: bool
    sub: str | None = None
    client_id: str | None = None
    scope: str | None = None
    account_type: str | None = None
    token_type: str | None = None
    iss: str | None = None
    aud: str | None = None
    jti: str | None = None
    iat: int | None = None
    exp: int | None = None


class OAuthRoutes:
    """The handlers. ``base_url`` is under which this installation is reached."""

    def __init__(self, tokens: ClientTokens, *, issuer: str, base_url: str) -> None:
        self._tokens = tokens
        self._document = msgspec.json.encode(discovery(issuer=issuer, base_url=base_url))

    async def token(self, request: Request) -> AnyAnswer:
        """An access token for a machine client's id and secret (RFC 6749, section 4.4).

        Without ``scope`` it grants everything that the client has.
        """
        return await _answered(request, self._give)

    async def introspect(self, request: Request) -> AnyAnswer:
        """Whether a token is good just now, and what it says (RFC 7662).

        A client may ask about its own tokens, and with the scope `tokens:introspect` about all.
        """
        return await _answered(request, self._introspect)

    async def revoke(self, request: Request) -> AnyAnswer:
        """End one of the client's own access tokens (RFC 7009). It acts on the next request."""
        return await _answered(request, self._revoke)

    async def discovery(self, request: Request) -> RawAnswer:  # noqa: ARG002 - a handler's shape
        """Where the endpoints are and what they understand (RFC 8414, OpenID Connect Discovery)."""
        return RawAnswer(
            body=self._document,
            content_type=_JSON,
            headers=(("Cache-Control", f"public, max-age={JWKS_MAX_AGE_S}"),),
        )

    async def _give(self, shown: ClientCredentials, fields: Fields) -> RawAnswer:
        grant = fields.get("grant_type")
        if grant is None:
            raise InvalidTokenRequest("grant_type is missing.")
        if grant != _GRANT:
            raise UnsupportedGrantType
        try:
            scopes = read_scopes(fields["scope"]) if "scope" in fields else ()
        except Unreadable:
            raise InvalidScope from None
        given = await self._tokens.give(shown, scopes=scopes)
        return _plain(
            TokenBody(
                access_token=given.token,
                token_type="Bearer",  # noqa: S106 - the name of a scheme, not a secret
                expires_in=given.expires_in_s,
                scope=" ".join(given.scopes),
            )
        )

    async def _introspect(self, shown: ClientCredentials, fields: Fields) -> RawAnswer:
        found = await self._tokens.introspect(shown, token=_token(fields))
        if found is None:
            return _plain(IntrospectionBody(active=False))
        return _plain(
            IntrospectionBody(
                active=True,
                sub=str(found.subject),
                client_id=None if found.client_id is None else str(found.client_id),
                scope=" ".join(found.scopes),
                account_type=found.account_type,
                token_type="Bearer",  # noqa: S106 - the name of a scheme, not a secret
                iss=found.issuer,
                aud=found.audience,
                jti=found.token_id,
                iat=found.issued_at,
                exp=found.expires_at,
            )
        )

    async def _revoke(self, shown: ClientCredentials, fields: Fields) -> RawAnswer:
        await self._tokens.revoke(shown, token=_token(fields))
        return RawAnswer(body=b"", content_type=_JSON)

    def routes(self) -> tuple[Route, ...]:
        """The three endpoints, and the document that says where they are."""
        secret = {"client_id": "0190c0de-0000-7000-8000-000000000000", "client_secret": "…"}
        return (
            _endpoint(
                "/oauth/token",
                self.token,
                "Get a token as a machine client",
                form=TokenForm,
                answers=TokenBody,
                raises=(InvalidScope, UnsupportedGrantType),
                example={"grant_type": _GRANT, "scope": "wallets:read", **secret},
            ),
            _endpoint(
                "/oauth/introspect",
                self.introspect,
                "Look at a token",
                form=LookedAtForm,
                answers=IntrospectionBody,
                example={"token": "…", **secret},
            ),
            _endpoint(
                "/oauth/revoke",
                self.revoke,
                "End a token",
                form=LookedAtForm,
                answers=None,
                raises=(TokenOfAnother,),
                example={"token": "…", **secret},
            ),
            *(
                Route(
                    method="GET",
                    path=path,
                    handler=self.discovery,
                    access=Access.PUBLIC,
                    summary="Where the OAuth endpoints are",
                    tag=_TAG,
                    at_root=True,
                )
                for path in DISCOVERY_PATHS
            ),
        )


def discovery(*, issuer: str, base_url: str) -> dict[str, Any]:
    """The discovery document. There is no authorization endpoint, and no ID token is given.

    Readers of OpenID Connect's refuse a document without the algorithm all the same.
    """
    api = f"{base_url}{API_PREFIX}"
    return {
        "issuer": issuer,
        "jwks_uri": f"{base_url}{JWKS_PATH}",
        "token_endpoint": f"{api}/oauth/token",
        "token_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint": f"{api}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "revocation_endpoint": f"{api}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": _METHODS,
        "grant_types_supported": [_GRANT],
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "scopes_supported": sorted(PERMISSIONS.keys() - FOR_PEOPLE),
        "service_documentation": f"{base_url}/docs",
    }


async def _answered(
    request: Request, use: Callable[[ClientCredentials, Fields], Awaitable[RawAnswer]]
) -> AnyAnswer:
    """What ``use`` answers to the client that sent the form, or the refusal in OAuth's words."""
    authorization = request.headers.get("authorization")
    try:
        fields = read_form(request.body, content_type=request.headers.get("content-type", ""))
        return await use(_credentials(authorization, fields), fields)
    except BadRequest as problem:
        return _refused(InvalidTokenRequest(problem.message))
    except _IN_WORDS_OF_OAUTH as refusal:
        return _refused(refusal)


def _credentials(authorization: str | None, fields: Fields) -> ClientCredentials:
    try:
        found = read_credentials(authorization, fields=fields)
    except Unreadable as problem:
        if authorization is not None and "client_secret" in fields:
            raise InvalidTokenRequest(f"The {problem}.") from None
        raise InvalidClient from None
    if found is None:
        raise InvalidClient
    client_id, secret = found
    return ClientCredentials(id=UserId(client_id), secret=secret)


def _token(fields: Fields) -> str:
    if "token" not in fields:
        raise InvalidTokenRequest("token is missing.")
    return fields["token"]


def _refused(refusal: OAuthRefusal) -> RefusedAnswer:
    body = msgspec.json.encode({"error": refusal.error, "error_description": refusal.message})
    is_unknown = isinstance(refusal, InvalidClient)
    headers = (("WWW-Authenticate", 'Basic realm="oauth"'),) if is_unknown else ()
    return RefusedAnswer(refusal=refusal, headers=headers, body=body)


def _plain(body: msgspec.Struct) -> RawAnswer:
    return RawAnswer(body=msgspec.json.encode(body), content_type=_JSON)


def _endpoint(
    path: str,
    handler: Callable[[Request], Awaitable[AnyAnswer]],
    summary: str,
    *,
    form: type[msgspec.Struct],
    answers: type[msgspec.Struct] | None,
    example: Mapping[str, str],
    raises: tuple[type[Refusal], ...] = (),
) -> Route:
    return Route(
        method="POST",
        path=path,
        handler=handler,
        access=Access.PUBLIC,
        summary=summary,
        tag=_TAG,
        form=form,
        answers=answers,
        raises=(InvalidClient, InvalidTokenRequest, *raises),
        example=example,
    )
