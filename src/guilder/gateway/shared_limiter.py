"""Rate limits that several processes count together, in Redis; alone while Redis is away."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from guilder.gateway.limiter import Limiter, MemoryLimiter, Verdict

_log = structlog.get_logger("guilder.gateway")

_TIMEOUT_S: Final = 0.25
_PAUSE_S: Final = 5.0


class RedisLimiter:
    """Counts in Redis, for all processes together.

    While Redis does not answer, each process counts for itself: money keeps moving, and nobody
    gets more than the limit for each process. Redis is asked again every few seconds.
    """

    def __init__(
        self,
        *,
        item: RateLimitItem,
        redis_url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limit = item.amount
        self.window_s = item.get_expiry()
        self._item = item
        self._storage = RedisStorage(
            f"async+{redis_url}",
            wrap_exceptions=True,
            implementation="redispy",
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
        )
        self._strategy = SlidingWindowCounterRateLimiter(self._storage)
        self._alone = MemoryLimiter(limit=self.limit, window_s=self.window_s, monotonic=monotonic)
        self._monotonic = monotonic
        self._alone_until = 0.0

    async def hit(self, key: str) -> Verdict:
        return await self._ask(self._strategy.hit, self._alone.hit, key)

    async def peek(self, key: str) -> Verdict:
        return await self._ask(self._strategy.test, self._alone.peek, key)

    async def close(self) -> None:
        """Close the connections to Redis."""
        bridge = self._storage.bridge
        if isinstance(bridge, RedispyBridge):
            await bridge.get_connection().aclose()  # type: ignore[attr-defined] # limits types only what it calls

    async def _ask(
        self,
        together: Callable[[RateLimitItem, str], Awaitable[bool]],
        alone: Callable[[str], Awaitable[Verdict]],
        key: str,
    ) -> Verdict:
        if self._monotonic() < self._alone_until:
            return await alone(key)
        try:
            allowed = await together(self._item, key)
            stats = await self._strategy.get_window_stats(self._item, key)
        except StorageError as error:
            self._alone_until = self._monotonic() + _PAUSE_S
            _log.warning("gateway.redis_unavailable", error=type(error.storage_error).__name__)
            return await alone(key)
        reset_s = max(1, math.ceil(stats.reset_time - time.time()))
        remaining = max(0, stats.remaining) if allowed else 0
        return Verdict(allowed=allowed, remaining=remaining, reset_s=reset_s)


def limiter_of(rate: str, *, redis_url: str | None = None) -> Limiter | None:
    """The limiter for a setting such as ``100/minute``; None for ``off``.

    Raises:
        ValueError: the setting cannot be read.
    """
    if rate == "off":
        return None
    item = parse(rate)
    if item.amount < 1:
        raise ValueError("the rate has to allow something")
    if redis_url:
        return RedisLimiter(item=item, redis_url=redis_url)
    return MemoryLimiter(limit=item.amount, window_s=item.get_expiry())
