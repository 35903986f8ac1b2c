"""Rate limits by a sliding window, counted per caller or per client address.

The window is the usual two-counter estimate: the previous window counts by the share of it that
the sliding window still covers. In one process it is counted here, because the in-memory store of
`limits` walks over all its keys on each hit (0.7 ms with 10,000 callers).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

MOST_KEYS: Final = 200_000
"""Callers counted at once: about 40 MB, whoever floods us with addresses."""


_ROUNDING_S: Final = 1e-3
"""What is a whole number of seconds may be taken for a little less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a request may pass, and how many may follow.

    In ``reset_s`` seconds it will be one more at least.
    """

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

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(slots=True)
class _Window:
    index: int
    count: int
    previous: int


class MemoryLimiter:
    """Counts in this process. Keys unused for two windows are forgotten, and the oldest of many."""

    def __init__(
        self,
        *,
        limit: int,
        window_s: int,
        monotonic: Callable[[], float] = time.monotonic,
        most_keys: int = MOST_KEYS,
    ) -> None:
        self.limit = limit
        self.window_s = window_s
        self._monotonic = monotonic
        self._most_keys = most_keys
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
        if key not in self._windows and len(self._windows) >= self._most_keys:
            del self._windows[next(iter(self._windows))]
        self._windows[key] = window
        return Verdict(allowed=True, remaining=self.limit - estimate - 1, reset_s=reset_s)

    async def peek(self, key: str) -> Verdict:
        _, estimate, reset_s = self._look(key)
        remaining = max(0, self.limit - estimate)
        return Verdict(allowed=remaining > 0, remaining=remaining, reset_s=reset_s)

    async def close(self) -> None:
        """Nothing is open."""

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
        weighed = window.previous * share_left
        estimate = int(weighed) + window.count
        # The previous window counts for less and less: one less where it falls below a whole
        # number. Without one, this window does from when the next one begins.
        share = share_left - (int(weighed) / window.previous if weighed >= 1 else 0)
        return window, estimate, math.floor(share * self.window_s + _ROUNDING_S) + 1

    def _sweep(self, index: int) -> None:
        """Forget who was not here in this window or the one before; once per window."""
        kept = {key: seen for key, seen in self._windows.items() if seen.index >= index - 1}
        self._windows = kept
        self._swept = index
