"""The route of the public keys that verify access tokens, answered so that clients keep them."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final

import msgspec

from guilder.platform.http.route import Access, RawAnswer, Request, Route
from guilder.platform.keys import JWKS_MAX_AGE_S, JWKS_PATH, KeyFolder

_TAG: Final = "identity"
_CACHED: Final = ("Cache-Control", f"public, max-age={JWKS_MAX_AGE_S}")


class KeyRoutes:
    """The handler, and its route at the root."""

    def __init__(self, keys: KeyFolder) -> None:
        self._keys = keys

    async def jwks(self, request: Request) -> RawAnswer:
        """The public keys that verify access tokens, as a JWK set (RFC 7517).

        It may be kept for a minute, and asked again with `If-None-Match`: 304 while nothing has
        changed. A new key is published two minutes before it signs.
        """
        body = msgspec.json.encode({"keys": await self._keys.public_keys()})
        tag = f'"{urlsafe_b64encode(sha256(body).digest()[:15]).decode("ascii")}"'
        headers = (_CACHED, ("ETag", tag))
        if _names(request.headers.get("if-none-match", ""), tag=tag):
            return RawAnswer(body=b"", content_type="application/json", status=304, headers=headers)
        return RawAnswer(body=body, content_type="application/json", headers=headers)

    def routes(self) -> tuple[Route, ...]:
        """The one route."""
        return (
            Route(
                method="GET",
                path=JWKS_PATH,
                handler=self.jwks,
                access=Access.PUBLIC,
                summary="Public keys of access tokens",
                tag=_TAG,
                at_root=True,
            ),
        )


def _names(conditions: str, *, tag: str) -> bool:
    """Whether an ``If-None-Match`` has ``tag`` among its own (RFC 9110, weak comparison)."""
    listed = (condition.strip().removeprefix("W/") for condition in conditions.split(","))
    return any(condition in {tag, "*"} for condition in listed)
