"""A provider of SMS (as Twilio) and push messages (as FCM) on a real socket; it keeps requests."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import RSAKey

from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.reply import JSON, Reply
from tests.support.http_server import serving

PROJECT = "guilder-test"
_FCM = "type.googleapis.com/google.firebase.fcm.v1"


@dataclass
class Providers:
    """Texts and pushes it took. ``answers`` are statuses for the next requests instead of yes;
    the app was removed from devices whose tokens are ``unregistered``."""

    url: str = ""
    texts: list[dict[str, str]] = field(default_factory=list)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    unregistered: set[str] = field(default_factory=set)
    tokens_given: int = 0
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def sms_url(self) -> str:
        return self.url.replace("://", "://AC1:secret@")

    @property
    def push_url(self) -> str:
        return f"{self.url}/v1/projects/{PROJECT}"

    def write_account(self, file: Path) -> Path:
        """The key file of a service account that this provider knows."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {
            "client_email": "guilder@test",
            "private_key": pem.decode(),
            "token_uri": f"{self.url}/token",
        }
        file.write_text(json.dumps(account), encoding="utf-8")
        return file

    async def respond(self, incoming: Incoming) -> Reply:
        body = await incoming.body(limit=65_536)
        said = incoming.headers.get("authorization", "")
        if incoming.path == "/token":
            return self._give_token(body.decode())
        if self.answers:
            return _reply(self.answers.pop(0), {"message": "not now"})
        if incoming.path == "/2010-04-01/Accounts/AC1/Messages.json":
            assert said == "Basic " + base64.b64encode(b"AC1:secret").decode()
            self.texts.append({name: one for name, (one,) in parse_qs(body.decode()).items()})
            self.keys.append(incoming.headers["idempotency-key"])
            return _reply(201, {"sid": f"SM{len(self.texts)}"})
        if incoming.path == f"/v1/projects/{PROJECT}/messages:send":
            if said != f"Bearer token-{self.tokens_given}":
                return _reply(401, {"error": "who are you"})
            if json.loads(body)["message"]["token"] in self.unregistered:
                detail = {"@type": f"{_FCM}.FcmError", "errorCode": "UNREGISTERED"}
                error = {"code": 404, "status": "NOT_FOUND", "details": [detail]}
                return _reply(404, {"error": error})
            self.pushes.append(json.loads(body)["message"])
            return _reply(200, {"name": f"projects/{PROJECT}/messages/{len(self.pushes)}"})
        return _reply(404, {})

    def _give_token(self, body: str) -> Reply:
        (assertion,) = parse_qs(body)["assertion"]
        public = RSAKey.import_key(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        claims = jwt.decode(assertion, public, algorithms=["RS256"]).claims
        assert claims["iss"] == "guilder@test"
        assert claims["aud"] == f"{self.url}/token"
        self.tokens_given += 1
        return _reply(200, {"access_token": f"token-{self.tokens_given}", "expires_in": 3600})


@asynccontextmanager
async def providing() -> AsyncIterator[Providers]:
    """Both providers at one address, as long as the block lasts."""
    providers = Providers()
    async with serving(HttpApp(providers.respond, proxies=TrustedProxies())) as address:
        providers.url = address.url
        yield providers


def _reply(status: int, body: object) -> Reply:
    return Reply(status=status, content_type=JSON, body=json.dumps(body).encode())
