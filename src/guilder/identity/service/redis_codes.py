"""One-time codes in Redis, for several processes. It needs the extra redis."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from guilder.identity.service.code_stores import DECOY_BYTES
from guilder.kernel.errors import Overloaded

_PREFIX: Final = "guilder:code:"
_TIMEOUT_S: Final = 2.0
# Each runs in Redis as one step: HINCRBY and what depends on it cannot be split by another client.
_PUT: Final = """
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'secret', ARGV[1], 'tries', 0)
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_GUESS: Final = """
    if redis.call('EXISTS', KEYS[1]) == 0 then
        redis.call('HSET', KEYS[1], 'secret', ARGV[1], 'tries', 0)
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
    return {redis.call('HGET', KEYS[1], 'secret'), tries}
"""
_TAKE: Final = """
    if redis.call('HGET', KEYS[1], 'secret') ~= ARGV[1] then return 0 end
    return redis.call('DEL', KEYS[1])
"""


class RedisCodes:
    """Codes in Redis, which forgets them by itself: a `CodeStore` for several processes."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
        )
        self._put = self._redis.register_script(_PUT)
        self._guess = self._redis.register_script(_GUESS)
        self._take = self._redis.register_script(_TAKE)

    async def put(self, name: str, *, secret: bytes, life_s: int) -> None:
        """Keep a secret, in place of the one of this name.

        Raises:
            Overloaded: Redis does not answer.
        """
        try:
            await self._put(keys=[_PREFIX + name], args=[secret, life_s * 1000])
        except RedisError as error:
            raise Overloaded from error

    async def read(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """The secrets of these names that are alive.

        Raises:
            Overloaded: Redis does not answer.
        """
        if not names:
            return {}
        try:
            async with self._redis.pipeline(transaction=False) as asked:
                for name in names:
                    asked.hget(_PREFIX + name, "secret")
                found = await asked.execute()
        except RedisError as error:
            raise Overloaded from error
        return {name: secret for name, secret in zip(names, found, strict=True) if secret}

    async def guess(self, name: str, *, life_s: int) -> tuple[bytes, int]:
        """Count a try; the secret or decoy to compare with, and how many tries there were.

        Raises:
            Overloaded: Redis does not answer.
        """
        decoy = os.urandom(DECOY_BYTES)
        try:
            secret, tries = await self._guess(keys=[_PREFIX + name], args=[decoy, life_s * 1000])
        except RedisError as error:
            raise Overloaded from error
        return secret, tries

    async def take(self, name: str, *, secret: bytes) -> bool:
        """Remove this very secret; true for the one who did.

        Raises:
            Overloaded: Redis does not answer.
        """
        try:
            return bool(await self._take(keys=[_PREFIX + name], args=[secret]))
        except RedisError as error:
            raise Overloaded from error

    async def drop(self, names: Sequence[str]) -> None:
        """Remove secrets, if they are there.

        Raises:
            Overloaded: Redis does not answer.
        """
        if not names:
            return
        try:
            await self._redis.delete(*(_PREFIX + name for name in names))
        except RedisError as error:
            raise Overloaded from error

    async def clear(self) -> None:
        """Nothing: Redis forgets what is over."""

    async def close(self) -> None:
        """Give up connections."""
        await self._redis.aclose()
