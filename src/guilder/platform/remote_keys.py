"""The public keys of another process, read from its JWK set: for a context that is served alone."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

import httpx2
import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from guilder.kernel.errors import Overloaded
from guilder.platform.keys import ALGORITHM, JWKS_MAX_AGE_S, UNKNOWN_KID_EVERY_S, UnixTime

_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 64 * 1024


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class RemoteKeys:
    """Keys from a JWK set's address, asked again after a minute or for an unknown key.

    However many tokens name unknown keys, it is asked once in two seconds, and sends the set again
    only when it has changed. While it does not answer, the keys that are known go on verifying.
    """

    def __init__(self, url: str, *, client: httpx2.AsyncClient, now: UnixTime = time.time) -> None:
        self._url = url
        self._client = client
        self._now = now
        self._keys: dict[str, ECKey] = {}
        self._tag: str | None = None
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def find(self, kid: str) -> ECKey | None:
        """The key named ``kid``, or None when the set does not have it.

        Raises:
            Overloaded: no set has ever been read, and the address does not answer.
        """
        await self._refresh(JWKS_MAX_AGE_S)
        if kid not in self._keys:
            await self._refresh(UNKNOWN_KID_EVERY_S)
        if not self._keys:
            raise Overloaded(retry_after_s=UNKNOWN_KID_EVERY_S)
        return self._keys.get(kid)

    async def _refresh(self, older_than_s: float) -> None:
        if self._now() - self._asked_at < older_than_s:
            return
        async with self._asking:
            if self._now() - self._asked_at < older_than_s:
                return
            self._asked_at = self._now()
            with suppress(httpx2.HTTPError, JoseError, KeyError, TypeError, ValueError):
                await self._ask()

    async def _ask(self) -> None:
        known = {} if self._tag is None else {"If-None-Match": self._tag}
        asking = self._client.stream("GET", self._url, timeout=_TIMEOUT_S, headers=known)
        async with asking as answer:
            if answer.status_code == HTTPStatus.NOT_MODIFIED:
                return
            answer.raise_for_status()
            body = bytearray()
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise ValueError("a JWK set is not that long")
        members = msgspec.json.decode(bytes(body), type=_KeySet).keys
        self._keys = {member["kid"]: _public_key(member) for member in members if _is_ours(member)}
        self._tag = answer.headers.get("etag")


def _is_ours(member: dict[str, Any]) -> bool:
    return member.get("alg") == ALGORITHM and isinstance(member.get("kid"), str)


def _public_key(member: dict[str, Any]) -> ECKey:
    return ECKey.import_key({name: member[name] for name in ("kty", "crv", "x", "y")})
