"""Natural batching: what arrives while one batch is in the database forms the next.

No timer and no added latency when idle; under load one lock round-trip, one write and one commit
serve hundreds of commands. The queue is bounded, and a bad command never hurts its neighbours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from guilder.kernel.errors import Overloaded, Refusal
from guilder.kernel.invariant import invariant

Command = TypeVar("Command")
Outcome = TypeVar("Outcome")


class Batcher(Generic[Command, Outcome]):
    """Executes commands in batches, at most ``lanes`` batches at a time.

    ``execute`` gets commands in the order they came and answers one outcome for each. When it
    fails as a whole (a bug, or a row the database will not take), the batch is run again in
    halves, down to the one command that cannot be executed; `Overloaded` is told to all of them.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Command]], Awaitable[Sequence[Outcome]]],
        *,
        max_batch: int = 256,
        max_waiting: int = 4096,
        lanes: int = 2,
    ) -> None:
        self._execute = execute
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._lanes = lanes
        self._waiting: deque[tuple[Command, asyncio.Future[Outcome]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, command: Command) -> Outcome:
        """Execute one command and answer its outcome after its commit.

        The command is executed even when the caller stops waiting for it.

        Raises:
            Overloaded: too many commands are waiting, or the database does not answer in time.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if len(self._running) < self._lanes:
            task = asyncio.create_task(self._drain())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def close(self) -> None:
        """Wait until everything that was accepted has been executed."""
        while self._running:
            await asyncio.wait(self._running)

    async def _drain(self) -> None:
        while self._waiting:
            size = min(len(self._waiting), self._max_batch)
            await self._answer([self._waiting.popleft() for _ in range(size)])

    async def _answer(self, batch: list[tuple[Command, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._execute([command for command, _ in batch])
            invariant(len(outcomes) == len(batch), "every command has one outcome")
        except Refusal as refusal:
            for _, future in batch:
                _fail(future, refusal)
        except Exception as error:  # noqa: BLE001 - the one command at fault is told, below
            if len(batch) == 1:
                _fail(batch[0][1], error)
                return
            middle = len(batch) // 2
            await self._answer(batch[:middle])
            await self._answer(batch[middle:])
        else:
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)


def _fail(future: asyncio.Future[Outcome], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
