"""A sign-in provider of our own, on this machine: it plays Google, any other OIDC, and GitHub.

It is a real HTTP server with discovery, keys, an authorization and a token endpoint, and it is
strict: codes are used once, PKCE is checked, clients authenticate. ``spoil`` makes it lie.
"""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID = "guilder-at-the-stranger"
CLIENT_SECRET = "the-stranger's:secret"
Claims = dict[str, Any]


@dataclass
class Person:
    """Who sits at the browser, as the provider knows them."""

    subject: str
    email: str | None = None
    email_verified: Any = True


@dataclass
class Grant:
    """A code that was given out."""

    person: Person
    challenge: str
    nonce: str | None
    redirect_uri: str


@dataclass
class Stranger:
    """The provider. ``person`` is who signs in next."""

    person: Person = field(default_factory=lambda: Person("1"))
    port: int = 0
    key: RSAKey | ECKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    algorithm: str = "RS256"
    more_keys: list[dict[str, Any]] = field(default_factory=list)
    document: Claims = field(default_factory=dict)
    spoil: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[[Claims], str] | None = None
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)
    tokens: dict[str, Person] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def times_asked(self, path: str) -> int:
        return self.asked.count(path)

    def respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Response:
        split = urlsplit(target)
        self.asked.append(split.path)
        if split.path in self.answers:
            status, sent = self.answers[split.path]
            return Response(status, sent)
        query = dict(parse_qsl(split.query))
        match method, split.path:
            case "GET", "/.well-known/openid-configuration":
                return _json(self._discovery())
            case "GET", "/keys":
                public = {**self.key.as_dict(private=False), "use": "sig"}
                return _json({"keys": [public, *self.more_keys]})
            case "GET", "/authorize" | "/login/oauth/authorize":
                return self._authorize(query)
            case "POST", "/token":
                return self._token(headers, dict(parse_qsl(body.decode())))
            case "POST", "/login/oauth/access_token":
                return self._access_token(dict(parse_qsl(body.decode())))
            case "GET", "/api/v3/user" | "/api/v3/user/emails":
                return self._api(split.path, headers)
        return Response(404, b"")

    def _discovery(self) -> Claims:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            **self.document,
        }

    def _authorize(self, query: dict[str, str]) -> Response:
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = token_urlsafe()
        self.grants[code] = Grant(
            self.person, query["code_challenge"], query.get("nonce"), query["redirect_uri"]
        )
        back = urlencode({"code": code, "state": query["state"], "session_state": "odd"})
        return Response(302, b"", location=f"{query['redirect_uri']}?{back}")

    def _token(self, headers: dict[str, str], fields: dict[str, str]) -> Response:
        shown = (fields.get("client_id", ""), fields.get("client_secret", ""))
        if "authorization" in headers:
            pair = b64decode(headers["authorization"].removeprefix("Basic ")).decode()
            client_id, _, secret = pair.partition(":")
            shown = (unquote_plus(client_id), unquote_plus(secret))
        grant = self._redeemed(fields)
        if shown != (CLIENT_ID, CLIENT_SECRET) or grant is None:
            return _json({"error": "invalid_grant"}, status=400)
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": grant.person.subject,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.nonce,
            "email": grant.person.email,
            "email_verified": grant.person.email_verified,
        }
        token = (self.sign or self.signed)(self.spoil(claims))
        return _json({"access_token": "unused", "token_type": "Bearer", "id_token": token})

    def signed(self, claims: Claims) -> str:
        header = {"alg": self.algorithm, "kid": self.key.kid, "typ": "JWT"}
        registry = jws.JWSRegistry(algorithms=[self.algorithm])
        return jws.serialize_compact(header, json.dumps(claims), self.key, registry=registry)

    def _access_token(self, fields: dict[str, str]) -> Response:
        shown = (fields["client_id"], fields["client_secret"])
        grant = self._redeemed(fields)
        if shown != (CLIENT_ID, CLIENT_SECRET) or grant is None:
            return _json({"error": "bad_verification_code"})  # as GitHub does, with 200
        token = token_urlsafe()
        self.tokens[token] = grant.person
        return _json({"access_token": token, "token_type": "bearer", "scope": "user:email"})

    def _api(self, path: str, headers: dict[str, str]) -> Response:
        person = self.tokens.get(headers.get("authorization", "").removeprefix("Bearer "))
        if person is None or "user-agent" not in headers:
            return Response(401, b"")
        if path.endswith("/user"):
            return _json({"id": int(person.subject), "login": "somebody"})
        spare = {"email": "spare@example.com", "primary": False, "verified": True}
        first = {"email": person.email, "primary": True, "verified": person.email_verified}
        return _json([spare, first])

    def _redeemed(self, fields: dict[str, str]) -> Grant | None:
        """The grant of a code, once, for whoever knows the verifier."""
        grant = self.grants.pop(fields.get("code", ""), None)
        verifier = sha256(fields.get("code_verifier", "").encode()).digest()
        proved = urlsafe_b64encode(verifier).decode().rstrip("=")
        if grant is None or (grant.challenge, grant.redirect_uri) != (
            proved,
            fields.get("redirect_uri"),
        ):
            return None
        return grant


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes
    location: str | None = None

    def raw(self) -> bytes:
        head = [f"HTTP/1.1 {self.status} So", f"content-length: {len(self.body)}"]
        if self.location is not None:
            head.append(f"location: {self.location}")
        return "\r\n".join([*head, "content-type: application/json", "", ""]).encode() + self.body


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode())


@asynccontextmanager
async def a_stranger() -> AsyncIterator[Stranger]:
    """The provider, until the block ends."""
    stranger = Stranger()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        writer.write(stranger.respond(method, target, headers, body).raw())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stranger.port = server.sockets[0].getsockname()[1]
    try:
        yield stranger
    finally:
        server.close()
        await server.wait_closed()
