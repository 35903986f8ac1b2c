"""Natural batching: what arrives while one batch is in the database forms the next.

No timer and no added latency when idle; under load one lock round-trip, one write and one commit
serve hundreds of commands. The queue is bounded, and a bad command never hurts its neighbours.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from guilder.kernel.errors import Overloaded, Refusal
from guilder.kernel.invariant import invariant

Command = TypeVar("Command")
Outcome = TypeVar("Outcome")

_LOOKED_THROUGH: Final = 4
"""How many batches' worth of waiting commands are looked through for one that can run."""
_LATE_S: Final = 0.05
"""A batch that takes longer waits for something that others need not wait for."""


class _Waiting(NamedTuple, Generic[Command, Outcome]):
    command: Command
    touches: Collection[Hashable]
    weight: int
    answer: asyncio.Future[Outcome]


class Batcher(Generic[Command, Outcome]):
    """Executes commands in batches, at most ``lanes`` batches at a time.

    ``execute`` gets commands in the order they came and answers one outcome for each. When it
    fails as a whole (a bug, or a row the database will not take), the batch is run again in
    halves, down to the one command that cannot be executed; `Overloaded` is told to all of them.

    A further lane opens only when half a batch waits: a batch of a few costs nearly as much as one
    of a hundred, and while one is in the database, what it will have for company arrives. Once one
    is late, few suffice.

    ``touches`` names what a command will lock. One whose things another batch has in hand would
    only wait for it inside the database, with a batch behind it; it stays in the queue instead,
    and what came later for the same things stays behind it. ``weight`` is how much of a batch a
    command takes up, for commands that are bundles; one may be heavier than a batch.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Command]], Awaitable[Sequence[Outcome]]],
        *,
        touches: Callable[[Command], Collection[Hashable]] = lambda _: (),
        weight: Callable[[Command], int] = lambda _: 1,
        max_batch: int = 256,
        max_waiting: int = 4096,
        lanes: int = 2,
    ) -> None:
        self._execute = execute
        self._touches = touches
        self._weight = weight
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._lanes = lanes
        self._waiting: deque[_Waiting[Command, Outcome]] = deque()
        self._in_hand: set[Hashable] = set()  # each by one batch: others wait for it here
        self._load = 0  # what waits weighs so much, and so much of it could run at once
        self._ready = 0
        self._lanes_open = 0
        self._late = 0
        self._running: set[asyncio.Task[None]] = set()

    async def submit(self, command: Command) -> Outcome:
        """Execute one command and answer its outcome after its commit.

        The command is executed even when the caller stops waiting for it.

        Raises:
            Overloaded: too many commands are waiting, or the database does not answer in time.
        """
        if len(self._waiting) >= self._max_waiting:
            raise Overloaded
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(command, self._touches(command), self._weight(command), answer)
        self._waiting.append(waiting)
        self._load += waiting.weight
        if self._in_hand.isdisjoint(waiting.touches):
            self._ready += waiting.weight
        self._open_lane()
        return await answer

    async def close(self) -> None:
        """Wait until everything that was accepted has been executed."""
        while self._running:
            await asyncio.wait(self._running)

    def _open_lane(self) -> None:
        may_wait = self._lanes_open > 0 and not self._late
        enough = max(1, self._max_batch // 2) if may_wait else 1
        if self._lanes_open < self._lanes and self._ready >= enough:
            self._lanes_open += 1
            lane = asyncio.create_task(self._drain())
            self._running.add(lane)
            lane.add_done_callback(self._running.discard)

    async def _drain(self) -> None:
        try:
            while batch := self._take():
                things = {thing for waiting in batch for thing in waiting.touches}
                self._in_hand |= things
                self._open_lane()
                try:
                    await self._watched(batch)
                finally:
                    self._in_hand -= things
        finally:
            # At once, not when the loop has heard of the task's end: who has just been answered
            # may ask again before that, and would find no lane and none to come.
            self._lanes_open -= 1

    def _take(self) -> list[_Waiting[Command, Outcome]]:
        batch: list[_Waiting[Command, Outcome]] = []
        passed_over: list[_Waiting[Command, Outcome]] = []
        blocked = set(self._in_hand)
        queue = self._waiting
        room = self._max_batch
        for _ in range(min(len(queue), self._max_batch * _LOOKED_THROUGH)):
            if batch and queue[0].weight > room:
                break
            waiting = queue.popleft()
            if blocked and not blocked.isdisjoint(waiting.touches):
                passed_over.append(waiting)
                blocked.update(waiting.touches)
                continue
            batch.append(waiting)
            room -= waiting.weight
            if room <= 0:
                break
        self._load -= self._max_batch - room
        # those passed over can run only when something is let go
        self._ready = self._load - sum(waiting.weight for waiting in passed_over)
        queue.extendleft(reversed(passed_over))
        return batch

    async def _watched(self, batch: Sequence[_Waiting[Command, Outcome]]) -> None:
        """Answer a batch; once it is late, others go on without it however few they are."""
        is_late = False

        def notice() -> None:
            nonlocal is_late
            is_late = True
            self._late += 1
            self._open_lane()

        timer = asyncio.get_running_loop().call_later(_LATE_S, notice)
        try:
            await self._answer(batch)
        finally:
            timer.cancel()
            self._late -= is_late

    async def _answer(self, batch: Sequence[_Waiting[Command, Outcome]]) -> None:
        try:
            outcomes = await self._execute([waiting.command for waiting in batch])
            invariant(len(outcomes) == len(batch), "every command has one outcome")
        except Refusal as refusal:
            for waiting in batch:
                _fail(waiting.answer, refusal)
        except Exception as error:  # noqa: BLE001 - the one command at fault is told, below
            if len(batch) == 1:
                _fail(batch[0].answer, error)
                return
            middle = len(batch) // 2
            await self._answer(batch[:middle])
            await self._answer(batch[middle:])
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result(outcome)


def _fail(answer: asyncio.Future[Outcome], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
