"""Hashes passwords with Argon2id in threads: a few at once, and behind whatever else has to run.

Memory is bounded by how many run at once (64 MiB each), and so is the processor. The threads give
way to everything else that wants it, requests and the database among them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from pwdlib.hashers.argon2 import Argon2Hasher

from guilder.kernel.errors import Overloaded

Result = TypeVar("Result")

_NICER: Final = 10
"""As background work: later than requests, and not never, where the processor is not enough."""
_NICEST: Final = 19
_MOST_AT_ONCE: Final = 4
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCost:
    """What one hash costs: RFC 9106's second recommendation, about 70 ms and 64 MiB."""

    passes: int = 3
    memory_kib: int = 64 * 1024
    lanes: int = 4


def hashes_at_once(*, processes: int = 1) -> int:
    """How many one of ``processes`` hashes at once: each hash keeps two processors busy alone."""
    return max(1, min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)) // (2 * processes)))


class Passwords:
    """Hashes and checks passwords, ``at_once`` in parallel and at most ``waiting`` more queued."""

    def __init__(
        self, *, cost: PasswordCost | None = None, at_once: int | None = None, waiting: int = 128
    ) -> None:
        cost = cost or PasswordCost()
        at_once = at_once or hashes_at_once()
        self._hasher = Argon2Hasher(
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        self.decoy = _decoy(cost)
        self._threads = ThreadPoolExecutor(
            at_once, thread_name_prefix="passwords", initializer=_give_way
        )
        self._most = at_once + waiting
        self._running = 0

    async def hash(self, password: str) -> str:
        """The text to store for ``password``.

        Raises:
            Overloaded: too many are waiting already.
        """
        return await self._in_thread(lambda: self._hasher.hash(password))

    async def match(self, password: str, *, stored: str | None) -> bool:
        """Whether ``stored`` was made of ``password``. It takes as long when nothing is stored.

        Raises:
            Overloaded: too many are waiting already.
        """
        text = stored or self.decoy
        matches = await self._in_thread(lambda: self._hasher.verify(password, text))
        return matches and stored is not None

    async def close(self) -> None:
        """Stop the threads once they have done what they are doing."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        if self._running >= self._most:
            raise Overloaded(retry_after_s=2)
        self._running += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(self._done)
        # A caller who goes away does not free the thread, so the place stays taken until it ends.
        return await asyncio.shield(running)

    def _done(self, _: asyncio.Future[Result]) -> None:
        self._running -= 1


def _give_way() -> None:
    """Give up priority; on Linux it is a thread's own, and the lanes' threads inherit it."""
    own = threading.get_native_id()
    niceness = os.getpriority(os.PRIO_PROCESS, own)
    os.setpriority(os.PRIO_PROCESS, own, min(_NICEST, niceness + _NICER))


def _decoy(cost: PasswordCost) -> str:
    """A hash of nothing in particular, of the same cost as a real one."""
    parameters = f"m={cost.memory_kib},t={cost.passes},p={cost.lanes}"
    salt, digest = (
        base64.b64encode(os.urandom(size)).decode("ascii").rstrip("=")
        for size in (_SALT_BYTES, _HASH_BYTES)
    )
    return f"$argon2id$v=19${parameters}${salt}${digest}"
