"""Decides who may come in: known hosts, known origins, and not too often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from guilder.gateway.limiter import Limiter, Verdict
from guilder.kernel.errors import Unauthenticated
from guilder.platform.households import household_of
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.refusals import HostNotAllowed
from guilder.platform.http.reply import HeaderPairs, Reply

LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")

_EXPOSED: Final = (
    b"X-Request-ID, Idempotency-Key, Idempotency-Replayed, Retry-After, RateLimit, RateLimit-Policy"
)
_ALLOWED_HEADERS: Final = (
    b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID"
)
_ALLOWED_METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE"


class Hosts:
    """The names under which this server may be addressed, whatever the port; ``*`` is any."""

    def __init__(self, allowed: Iterable[str]) -> None:
        names = {name.lower() for name in allowed}
        self._any = "*" in names
        self._names = frozenset(name.encode("ascii") for name in names)

    def check(self, host: bytes) -> None:
        """Let a Host header pass.

        Raises:
            HostNotAllowed: it is missing, malformed or names another site.
        """
        if host in self._names or self._any:
            return
        name, colon, port = host.rpartition(b":")
        if colon and port.isdigit() and name.lower() in self._names:
            return
        if host.lower() not in self._names:
            raise HostNotAllowed


class Origins:
    """The sites whose pages may call this one (CORS). None by default."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.encode("ascii") for origin in allowed)

    def preflight(self, incoming: Incoming) -> Reply | None:
        """The answer to a browser that asks before it sends; None for any other request."""
        raw = incoming.raw
        if incoming.method != "OPTIONS" or b"access-control-request-method" not in raw:
            return None
        headers: HeaderPairs = []
        if raw.get(b"origin") in self._allowed:
            headers = [
                (b"access-control-allow-methods", _ALLOWED_METHODS),
                (b"access-control-allow-headers", _ALLOWED_HEADERS),
                (b"access-control-max-age", b"600"),
            ]
        return Reply(status=204, content_type=None, headers=headers)

    def headers(self, incoming: Incoming) -> HeaderPairs:
        """What tells a browser that it may show the answer to the page that asked."""
        if not self._allowed:
            return []
        origin = incoming.raw.get(b"origin")
        if origin not in self._allowed or origin is None:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
        ]


class RateLimit:
    """Counts every request: for its caller when its token is good, else for its address."""

    def __init__(self, limiter: Limiter, *, dispatcher: Dispatcher) -> None:
        self._limiter = limiter
        self._dispatcher = dispatcher
        policy = f'"default";q={limiter.limit};w={limiter.window_s}'
        self._policy = (b"ratelimit-policy", policy.encode("ascii"))

    async def admit(self, incoming: Incoming) -> Verdict:
        """Count a request, unless it is one too many."""
        by_address = f"address:{household_of(incoming.client_address)}"
        if incoming.token() is None:
            return await self._limiter.hit(by_address)
        # Checking a signature costs more than counting, so an address that has used up its
        # allowance on bad tokens gets no further ones looked at, unless they are known good.
        if not self._dispatcher.knows(incoming):
            verdict = await self._limiter.peek(by_address)
            if not verdict.allowed:
                return verdict
        try:
            caller = await self._dispatcher.identify(incoming)
        except Unauthenticated:
            caller = None
        return await self._limiter.hit(by_address if caller is None else f"user:{caller.user_id}")

    def headers(self, verdict: Verdict) -> HeaderPairs:
        """A verdict as the RateLimit fields of draft-ietf-httpapi-ratelimit-headers."""
        left = f'"default";r={verdict.remaining};t={verdict.reset_s}'
        return [self._policy, (b"ratelimit", left.encode("ascii"))]
