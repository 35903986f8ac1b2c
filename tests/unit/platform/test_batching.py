"""Natural batching: order, halves, a bounded queue, lanes, an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.errors import Overloaded
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.batching import Batcher


class Desk:
    """Executes numbers: answers their squares, and fails any batch that holds a bad one."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.batches: list[list[int]] = []
        self.finished: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self._began = asyncio.Condition()
        self.running = 0
        self.most_running = 0

    async def execute(self, batch: Sequence[int]) -> list[int]:
        async with self._began:
            self.batches.append(list(batch))
            self._began.notify_all()
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await self.gate.wait()
            if self.bad & set(batch):
                raise ValueError(f"{sorted(self.bad & set(batch))} cannot be executed")
        finally:
            self.running -= 1
        self.finished += batch
        return [number * number for number in batch]

    async def started(self, batches: int) -> None:
        """Return once so many batches have begun."""
        async with self._began:
            await self._began.wait_for(lambda: len(self.batches) >= batches)


async def test_a_lone_command_is_executed_at_once_and_alone():
    desk = Desk()
    queue = Batcher(desk.execute)

    assert await queue.submit(7) == 49
    assert desk.batches == [[7]]


async def test_what_arrives_meanwhile_is_the_next_batch_in_order_of_arrival():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, lanes=1)

    first = asyncio.ensure_future(queue.submit(1))
    await desk.started(1)
    rest = [asyncio.ensure_future(queue.submit(number)) for number in range(2, 8)]
    await asyncio.sleep(0)
    desk.gate.set()

    assert await asyncio.gather(first, *rest) == [number**2 for number in range(1, 8)]
    assert desk.batches == [[1], [2, 3, 4, 5, 6, 7]]


async def test_a_batch_has_a_largest_size():
    desk = Desk()
    queue = Batcher(desk.execute, max_batch=4, lanes=1)

    await asyncio.gather(*(queue.submit(number) for number in range(10)))

    assert desk.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def test_no_more_batches_run_at_once_than_there_are_lanes():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, max_batch=1, lanes=3)

    waiting = [asyncio.ensure_future(queue.submit(number)) for number in range(9)]
    await desk.started(3)
    desk.gate.set()
    await asyncio.gather(*waiting)

    assert desk.most_running == 3


async def test_a_further_lane_opens_only_when_half_a_batch_waits():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, max_batch=4, lanes=2)

    answers = [asyncio.ensure_future(queue.submit(1))]
    await desk.started(1)
    answers.append(asyncio.ensure_future(queue.submit(2)))
    await asyncio.sleep(0)
    few = list(desk.batches)
    answers.append(asyncio.ensure_future(queue.submit(3)))
    await desk.started(2)
    desk.gate.set()

    assert await asyncio.gather(*answers) == [1, 4, 9]
    assert few == [[1]]
    assert desk.batches == [[1], [2, 3]]


async def test_few_go_without_a_batch_that_is_late():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, max_batch=100, lanes=2)

    answers = [asyncio.ensure_future(queue.submit(1))]
    await desk.started(1)
    answers.append(asyncio.ensure_future(queue.submit(2)))
    await desk.started(2)
    desk.gate.set()

    assert await asyncio.gather(*answers) == [1, 4]
    assert desk.batches == [[1], [2]]


async def test_commands_for_what_is_in_hand_wait_in_their_order():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, touches=lambda number: [number % 10], max_batch=2, lanes=2)

    answers = [asyncio.ensure_future(queue.submit(number)) for number in (1, 2)]
    await desk.started(1)
    answers += [asyncio.ensure_future(queue.submit(number)) for number in (11, 3, 21, 4)]
    await desk.started(2)
    desk.gate.set()
    await asyncio.gather(*answers)

    assert desk.batches == [[1, 2], [3, 4], [11, 21]]


async def test_what_waits_behind_a_command_that_waits_does_not_overtake_it():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, touches=lambda number: divmod(number, 10), max_batch=2, lanes=2)

    answers = [asyncio.ensure_future(queue.submit(number)) for number in (12, 12)]
    await desk.started(1)
    answers += [asyncio.ensure_future(queue.submit(number)) for number in (23, 34, 56)]
    await asyncio.sleep(0)
    desk.gate.set()
    await asyncio.gather(*answers)

    assert desk.finished.index(23) < desk.finished.index(34)


@given(bad=st.sets(st.integers(0, 15)), size=st.integers(1, 16))
def test_a_bad_command_never_hurts_its_neighbours(bad: set[int], size: int):
    async def run() -> tuple[Desk, list[int | BaseException]]:
        desk = Desk(*bad)
        queue = Batcher(desk.execute, lanes=1, max_batch=size)
        answers = await asyncio.gather(
            *(queue.submit(number) for number in range(16)), return_exceptions=True
        )
        return desk, answers

    desk, answers = asyncio.run(run())

    for number, answer in enumerate(answers):
        if number in bad:
            assert isinstance(answer, ValueError)
        else:
            assert answer == number**2
    assert desk.finished == [number for number in range(16) if number not in bad]


async def test_a_full_queue_refuses_and_keeps_what_it_has():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, lanes=1, max_batch=1, max_waiting=2)
    accepted = [asyncio.ensure_future(queue.submit(0))]
    await desk.started(1)
    accepted += [asyncio.ensure_future(queue.submit(number)) for number in (1, 2)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded) as refused:
        await queue.submit(3)

    desk.gate.set()
    assert await asyncio.gather(*accepted) == [0, 1, 4]
    assert refused.value.details["retry_after_s"] >= 1
    assert [3] not in desk.batches


async def test_a_busy_database_is_told_to_all_and_nothing_is_run_again():
    asked: list[list[int]] = []

    async def busy(batch: Sequence[int]) -> list[int]:
        asked.append(list(batch))
        raise Overloaded

    queue = Batcher(busy, lanes=1)

    answers = await asyncio.gather(
        *(queue.submit(number) for number in range(5)), return_exceptions=True
    )

    assert all(isinstance(answer, Overloaded) for answer in answers)
    assert asked == [[0, 1, 2, 3, 4]]


async def test_a_caller_who_leaves_does_not_stop_the_command():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, lanes=1)
    leaving = asyncio.ensure_future(queue.submit(1))
    staying = asyncio.ensure_future(queue.submit(2))
    await desk.started(1)

    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    desk.gate.set()

    assert await staying == 4
    assert desk.finished == [1, 2]


async def test_closing_waits_for_everything_that_was_accepted():
    desk = Desk()
    desk.gate.clear()
    queue = Batcher(desk.execute, lanes=2, max_batch=2)
    accepted = [asyncio.ensure_future(queue.submit(number)) for number in range(8)]
    await desk.started(2)

    closing = asyncio.ensure_future(queue.close())
    await asyncio.sleep(0)
    assert not closing.done()
    desk.gate.set()
    await closing

    assert sorted(desk.finished) == list(range(8))
    assert await asyncio.gather(*accepted) == [number**2 for number in range(8)]


async def test_a_wrong_number_of_outcomes_is_a_bug_and_answers_nobody_wrongly():
    async def short(batch: Sequence[int]) -> list[int]:
        return [0] * (len(batch) - 1)

    queue = Batcher(short, lanes=1)

    answers = await asyncio.gather(queue.submit(1), queue.submit(2), return_exceptions=True)

    assert all(isinstance(answer, InvariantViolation) for answer in answers)


async def test_who_asks_again_as_soon_as_answered_is_answered_again():
    """The lane that answered has just ended then, and another has to be opened."""
    queue = Batcher(Desk().execute, lanes=1)

    async def ask_again_and_again(number: int) -> list[int]:
        return [await queue.submit(number) for _ in range(3)]

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(ask_again_and_again(number) for number in (2, 3)))

    assert answers == [[4, 4, 4], [9, 9, 9]]


async def test_a_batch_takes_as_much_as_it_can_carry():
    desk = Desk()
    queue = Batcher(desk.execute, weight=lambda number: number, max_batch=10, lanes=1)

    desk.gate.clear()
    first = asyncio.create_task(queue.submit(1))
    await desk.started(1)
    rest = [asyncio.create_task(queue.submit(number)) for number in (4, 6, 5, 20, 2)]
    await asyncio.sleep(0)
    desk.gate.set()

    assert await asyncio.gather(first, *rest) == [1, 16, 36, 25, 400, 4]
    assert desk.batches == [[1], [4, 6], [5], [20], [2]]
