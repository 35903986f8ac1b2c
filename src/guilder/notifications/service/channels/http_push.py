"""Push messages by an HTTP provider that speaks as Firebase Cloud Messaging (HTTP v1) does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import Struct

from guilder.notifications.api import AddressGone, Message, NotDelivered, Undeliverable

_TIMEOUT_S: Final = 10.0
_SCOPE: Final = "https://www.googleapis.com/auth/firebase.messaging"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_LIFE_S: Final = 3600
_RENEWED_BEFORE_S: Final = 120
_OUR_FAULT: Final = frozenset({401, 403, 404, 408, 429})
_UNREGISTERED: Final = "UNREGISTERED"


class ServiceAccount(Struct, frozen=True, kw_only=True):
    """Who asks the provider, as its JSON key file says."""

    client_email: str
    private_key: str
    token_uri: str

    @classmethod
    def read(cls, file: Path) -> ServiceAccount:
        """Read a key file.

        Raises:
            ValueError: it is not one.
            OSError: it cannot be read.
        """
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                client_email=said["client_email"],
                private_key=said["private_key"],
                token_uri=said["token_uri"],
            )
        except (LookupError, TypeError) as error:
            raise ValueError(f"{file}: this is not the key of a service account") from error


class HttpPush:
    """Sends to devices by their tokens. ``url`` is the project's, as .../v1/projects/<name>."""

    def __init__(
        self, url: str, *, account: ServiceAccount, now: Callable[[], float] = time.time
    ) -> None:
        self._url = f"{url.rstrip('/')}/messages:send"
        self._account = account
        self._now = now
        self._http = httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
        self._token = ""
        self._renew_at = 0.0
        self._renewing = asyncio.Lock()

    async def send(self, message: Message) -> str:
        """Hand a push message to the provider; apps tell repetitions by its id.

        Raises:
            NotDelivered: it cannot be reached, is busy, or does not know us or the project.
            AddressGone: the app was removed from the device.
            Undeliverable: it refuses this message.
        """
        body = {
            "message": {
                "token": message.to,
                "notification": {"title": message.title, "body": message.short},
                "data": {"message_id": str(message.id)},
                # no collapse key for Android: for a device that is away, FCM keeps only a few
                "apns": {"headers": {"apns-collapse-id": str(message.id)}},
            }
        }
        try:
            token = await self._access_token()
            answer = await self._http.post(
                self._url, json=body, headers={"Authorization": f"Bearer {token}"}
            )
        except httpx2.HTTPError as error:
            raise NotDelivered(type(error).__name__) from error
        status = answer.status_code
        if status == 401:
            self._renew_at = 0.0
        if status == 404 and _is_unregistered(_said(answer)):
            raise AddressGone("device_gone")
        # any other 404 is about the URL or the project, as after a mistake in our settings
        if status in _OUR_FAULT or status >= 500 or 300 <= status < 400:
            raise NotDelivered(f"http_{status}")
        if status >= 400:
            raise Undeliverable(f"http_{status}")
        return str(_said(answer).get("name", ""))

    async def close(self) -> None:
        """Close connections to the provider."""
        await self._http.aclose()

    async def _access_token(self) -> str:
        async with self._renewing:
            if self._now() >= self._renew_at:
                answer = await self._http.post(
                    self._account.token_uri,
                    data={"grant_type": _GRANT, "assertion": self._assertion()},
                )
                said = _said(answer)
                if answer.status_code != 200 or "access_token" not in said:
                    raise NotDelivered(f"token_http_{answer.status_code}")
                self._token = str(said["access_token"])
                life_s = int(said.get("expires_in", _TOKEN_LIFE_S))
                self._renew_at = self._now() + max(0, life_s - _RENEWED_BEFORE_S)
            return self._token

    def _assertion(self) -> str:
        now = int(self._now())
        claims = {
            "iss": self._account.client_email,
            "scope": _SCOPE,
            "aud": self._account.token_uri,
            "iat": now,
            "exp": now + _TOKEN_LIFE_S,
        }
        key = RSAKey.import_key(self._account.private_key)
        return jwt.encode({"alg": "RS256", "typ": "JWT"}, claims, key)


class _Detail(Struct, frozen=True):
    code: str = msgspec.field(name="errorCode", default="")


class _Error(Struct, frozen=True):
    details: tuple[_Detail, ...] = ()


class _Refused(Struct, frozen=True):
    error: _Error = _Error()


def _is_unregistered(said: Mapping[str, Any]) -> bool:
    """Whether the provider says that it knows the device's token no more."""
    try:
        refused = msgspec.convert(said, _Refused)
    except msgspec.ValidationError:
        return False
    return any(detail.code == _UNREGISTERED for detail in refused.error.details)


def _said(answer: httpx2.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
