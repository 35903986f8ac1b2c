"""Rate limits by a sliding window, counted per caller or per client address.

The window is the usual two-counter estimate: the previous window counts by the share of it that
the sliding window still covers. In one process it is counted in memory by our own few lines,
because the in-memory store of `limits` walks over all its keys on each hit (0.7 ms with 10,000
callers); for several processes `limits` counts in Redis.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass, how many may follow, and when there will be more."""

    allowed: bool
    remaining: int
    reset_s: int


class Limiter(Protocol):
    """Counts requests by key."""

    limit: int
    window_s: int

    async def hit(self, key: str) -> Verdict:
        """Count one request, unless it is one too many."""
        ...

    async def peek(self, key: str) -> Verdict:
        """What `hit` would say, without counting."""
        ...


@dataclass(slots=True)
class _Window:
    index: int
    count: int
    previous: int


class MemoryLimiter:
    """Counts in this process. Keys unused for two windows are forgotten."""

    def __init__(
        self, *, limit: int, window_s: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._monotonic = monotonic
        self._windows: dict[str, _Window] = {}
        self._swept = 0

    def keys(self) -> set[str]:
        """Who is being counted."""
        return set(self._windows)

    async def hit(self, key: str) -> Verdict:
        window, estimate, reset_s = self._look(key)
        if estimate + 1 > self.limit:
            return Verdict(allowed=False, remaining=0, reset_s=reset_s)
        window.count += 1
        self._windows[key] = window
        return Verdict(allowed=True, remaining=self.limit - estimate - 1, reset_s=reset_s)

    async def peek(self, key: str) -> Verdict:
        _, estimate, reset_s = self._look(key)
        remaining = max(0, self.limit - estimate)
        return Verdict(allowed=remaining > 0, remaining=remaining, reset_s=reset_s)

    def _look(self, key: str) -> tuple[_Window, int, int]:
        """The key's window, how many requests the sliding window has, and seconds to more."""
        passed = self._monotonic() / self.window_s
        index = int(passed)
        if index != self._swept:
            self._sweep(index)
        window = self._windows.get(key) or _Window(index, 0, 0)
        if window.index != index:
            previous = window.count if window.index == index - 1 else 0
            window = _Window(index, 0, previous)
        share_left = 1 - (passed - index)
        estimate = int(window.previous * share_left) + window.count
        return window, estimate, max(1, math.ceil(share_left * self.window_s))

    def _sweep(self, index: int) -> None:
        """Forget who was not here in this window or the one before; once per window."""
        kept = {key: seen for key, seen in self._windows.items() if seen.index >= index - 1}
        self._windows = kept
        self._swept = index


class RedisLimiter:
    """Counts in Redis, for all processes together."""

    def __init__(self, *, item: RateLimitItem, redis_url: str) -> None:
        self.limit = item.amount
        self.window_s = item.get_expiry()
        self._item = item
        storage = RedisStorage(f"async+{redis_url}", implementation="redispy")
        self._strategy = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, key: str) -> Verdict:
        allowed = await self._strategy.hit(self._item, key)
        return await self._verdict(key, allowed=allowed)

    async def peek(self, key: str) -> Verdict:
        return await self._verdict(key, allowed=await self._strategy.test(self._item, key))

    async def _verdict(self, key: str, *, allowed: bool) -> Verdict:
        stats = await self._strategy.get_window_stats(self._item, key)
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
