"""Hashes passwords with Argon2id: a few at once, and behind whatever else has to run.

Memory is bounded by how many run at once (64 MiB each), and so is the processor. What hashes gives
way to everything else that wants it, requests and the database among them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from guilder.identity.service.argon2 import HASH_BYTES, SALT_BYTES, argon2
from guilder.identity.service.hashing_processes import HashingProcesses
from guilder.kernel.errors import Overloaded
from guilder.platform.uncut import uncut

Result = TypeVar("Result")

_NICER: Final = 10
"""As background work: later than requests, and not never, where the processor is not enough."""
_NICEST: Final = 19
_MOST_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCost:
    """What one hash costs: RFC 9106's second recommendation, about 70 ms and 64 MiB."""

    passes: int = 3
    memory_kib: int = 64 * 1024
    lanes: int = 4


def hashes_at_once(*, processes: int = 1) -> int:
    """How many one of ``processes`` hashes at once: each hash keeps two processors busy alone."""
    return max(1, min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)) // (2 * processes)))


class Hashing(Protocol):
    """Where passwords are hashed."""

    async def hash(self, password: str) -> str:
        """The text to store for ``password``."""
        ...

    async def verify(self, password: str, *, stored: str) -> bool:
        """Whether ``stored`` was made of ``password``."""
        ...

    async def close(self) -> None:
        """End what hashes, once it has done what it is doing."""
        ...


class HashingThreads:
    """Hashes in ``at_once`` threads of this process: for commands, which serve nobody meanwhile."""

    def __init__(self, cost: PasswordCost, *, at_once: int) -> None:
        self._hasher = argon2(passes=cost.passes, memory_kib=cost.memory_kib, lanes=cost.lanes)
        self._threads = ThreadPoolExecutor(
            at_once, thread_name_prefix="passwords", initializer=_give_way
        )

    async def hash(self, password: str) -> str:
        """The text to store for ``password``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, password: str, *, stored: str) -> bool:
        """Whether ``stored`` was made of ``password``."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.verify, password, stored)

    async def close(self) -> None:
        """Stop the threads once they have done what they are doing."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)


class Passwords:
    """Hashes and checks passwords, ``at_once`` in parallel and at most ``waiting`` more queued.

    ``apart`` has it done in processes of their own, for whoever serves others meanwhile.
    """

    def __init__(
        self,
        *,
        cost: PasswordCost | None = None,
        at_once: int | None = None,
        waiting: int = 128,
        apart: bool = False,
    ) -> None:
        cost = cost or PasswordCost()
        at_once = at_once or hashes_at_once()
        self._hashing: Hashing = (
            HashingProcesses(
                passes=cost.passes, memory_kib=cost.memory_kib, lanes=cost.lanes, at_once=at_once
            )
            if apart
            else HashingThreads(cost, at_once=at_once)
        )
        self._cost = cost
        self.decoy = _decoy(cost)
        self._most = at_once + waiting
        self._running: set[asyncio.Task[Any]] = set()

    async def hash(self, password: str) -> str:
        """The text to store for ``password``.

        Raises:
            Overloaded: too many are waiting already.
        """
        return await self._admitted(self._hashing.hash(password))

    async def match(self, password: str, *, stored: str | None) -> bool:
        """Whether ``stored`` was made of ``password``. It takes as long when nothing is stored.

        Raises:
            Overloaded: too many are waiting already.
        """
        text = stored or self.decoy
        matches = await self._admitted(self._hashing.verify(password, stored=text))
        return matches and stored is not None

    def nobodys(self) -> str:
        """A text to store that no password matches; finding so costs as much as ever."""
        return _decoy(self._cost)

    async def close(self) -> None:
        """Stop what hashes, once it has done what it is doing. Nobody waits for the rest."""
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._hashing.close()

    async def _admitted(self, work: Coroutine[Any, Any, Result]) -> Result:
        if len(self._running) >= self._most:
            work.close()
            raise Overloaded(retry_after_s=2)
        running = asyncio.create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        # A caller who goes away does not stop a hash, so the place stays taken until it ends.
        return await uncut(running, told_as="passwords.failed_alone")


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
        for size in (SALT_BYTES, HASH_BYTES)
    )
    return f"$argon2id$v=19${parameters}${salt}${digest}"
