"""Passes requests on to a context that runs elsewhere, streaming both ways."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Final

import httpx2
import structlog

from guilder.platform.http.incoming import Incoming
from guilder.platform.http.refusals import ProviderUnavailable
from guilder.platform.http.reply import HeaderPairs, Reply

_log = structlog.get_logger("guilder.gateway")

_NOT_PASSED_ON: Final = frozenset(
    {
        b"connection",
        b"host",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)
# Said anew when the answer is sent on.
_SAID_BY_US: Final = frozenset(
    {
        b"content-type",
        b"date",
        b"server",
        b"strict-transport-security",
        b"x-content-type-options",
        b"x-request-id",
    }
)
_TIMEOUT: Final = httpx2.Timeout(connect=2.0, read=60.0, write=30.0, pool=2.0)
_LIMITS: Final = httpx2.Limits(
    max_connections=512, max_keepalive_connections=128, keepalive_expiry=3.0
)


class Upstreams:
    """The contexts that run elsewhere, by name, with one pool of connections to all of them."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = {name: httpx2.URL(url) for name, url in urls.items()}
        # Proxies of the environment are for the outside world, never for our own services.
        self._client = httpx2.AsyncClient(timeout=_TIMEOUT, limits=_LIMITS, trust_env=False)

    def __contains__(self, name: object) -> bool:
        return name in self._urls

    def __bool__(self) -> bool:
        return bool(self._urls)

    async def close(self) -> None:
        """Close the pool's connections."""
        await self._client.aclose()

    async def forward(self, incoming: Incoming, *, to: str, path: str, limit: int) -> Reply:
        """The answer of context ``to``, whose body is passed on as it arrives.

        Raises:
            PayloadTooLarge: the request's body is longer than ``limit`` bytes.
            ProviderUnavailable: it cannot be reached or does not answer in time.
            ClientGone: the client left before its request was complete.
        """
        query = incoming.query_string
        raw_path = path.encode("ascii") + (b"?" + query if query else b"")
        request = self._client.build_request(
            incoming.method,
            self._urls[to].copy_with(raw_path=raw_path),
            headers=_forwarded_headers(incoming),
            content=incoming.pieces(limit=limit) if incoming.has_body() else None,
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx2.TransportError as error:
            _log.warning("gateway.upstream_unavailable", upstream=to, error=type(error).__name__)
            raise ProviderUnavailable from error
        content_type = response.headers.get("content-type")
        return Reply(
            status=response.status_code,
            content_type=None if content_type is None else content_type.encode("latin-1"),
            headers=_answered_headers(response.headers),
            stream=_pieces(response),
        )


def _forwarded_headers(incoming: Incoming) -> HeaderPairs:
    """What the client said, less what was meant for us alone, and what we say about the client."""
    dropped = _NOT_PASSED_ON | _named_by_connection(incoming.raw.get(b"connection", b""))
    client = incoming.client_address.encode("ascii")
    return [
        *((name, value) for name, value in incoming.raw.items() if name not in dropped),
        (b"x-request-id", incoming.request_id.encode("ascii")),
        (b"x-forwarded-host", incoming.host),
        (b"x-forwarded-proto", incoming.scheme.encode("ascii")),
        *([(b"x-forwarded-for", client), (b"x-real-ip", client)] if client else []),
        # The client of the pool would ask for what the caller may not be able to unpack.
        *([] if b"accept-encoding" in incoming.raw else [(b"accept-encoding", b"identity")]),
    ]


def _answered_headers(headers: httpx2.Headers) -> HeaderPairs:
    dropped = _NOT_PASSED_ON | _SAID_BY_US
    dropped |= _named_by_connection(headers.get("connection", "").encode("latin-1"))
    pairs = ((name.lower(), value) for name, value in headers.raw)
    return [(name, value) for name, value in pairs if name not in dropped]


def _named_by_connection(value: bytes) -> frozenset[bytes]:
    return frozenset(name.strip().lower() for name in value.split(b","))


async def _pieces(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    finally:
        await response.aclose()
