"""The sliding window counts per key, forgets what has passed, and tells how many are left."""

from __future__ import annotations

import socket
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.gateway.limiter import MemoryLimiter
from guilder.gateway.shared_limiter import RedisLimiter, limiter_of


@dataclass
class Watch:
    """A clock that is moved by hand."""

    now_s: float = 6000.0

    def __call__(self) -> float:
        return self.now_s


def _limiter(watch: Watch, limit: int = 3) -> MemoryLimiter:
    return MemoryLimiter(limit=limit, window_s=60, monotonic=watch)


async def test_requests_beyond_the_limit_are_not_allowed() -> None:
    limiter = _limiter(Watch())

    verdicts = [await limiter.hit("Anna") for _ in range(5)]

    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert verdicts[-1].reset_s == 61


async def test_callers_are_counted_apart() -> None:
    limiter = _limiter(Watch(), limit=1)

    assert (await limiter.hit("Anna")).allowed
    assert (await limiter.hit("Ben")).allowed
    assert not (await limiter.hit("Anna")).allowed


async def test_a_look_does_not_count() -> None:
    limiter = _limiter(Watch(), limit=1)

    assert all([(await limiter.peek("Anna")).allowed for _ in range(5)])
    await limiter.hit("Anna")
    assert not (await limiter.peek("Anna")).allowed


async def test_the_previous_window_counts_by_what_is_left_of_it() -> None:
    watch = Watch()
    limiter = _limiter(watch, limit=10)
    for _ in range(10):
        await limiter.hit("Anna")

    watch.now_s += 60 + 30
    verdicts = [await limiter.hit("Anna") for _ in range(6)]

    assert [verdict.allowed for verdict in verdicts] == [True] * 5 + [False]
    # The five that are left of the minute before are less than five in a moment.
    assert verdicts[-1].reset_s == 1


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.floats(0, 70), st.integers(1, 250)), min_size=1, max_size=5),
)
async def test_who_comes_back_when_told_may_pass_and_not_much_earlier(
    limit: int, visits: list[tuple[float, int]]
) -> None:
    watch = Watch()
    limiter = _limiter(watch, limit=limit)
    for pause_s, count in visits:
        watch.now_s += pause_s
        for _ in range(count):
            await limiter.hit("Anna")
    while (refused := await limiter.hit("Anna")).allowed:
        pass
    told_at = watch.now_s

    watch.now_s = told_at + refused.reset_s
    assert (await limiter.peek("Anna")).allowed
    watch.now_s = told_at + refused.reset_s - 1.002
    assert watch.now_s <= told_at or not (await limiter.peek("Anna")).allowed


async def test_two_windows_later_everything_is_forgotten() -> None:
    watch = Watch()
    limiter = _limiter(watch, limit=1)
    await limiter.hit("Anna")

    watch.now_s += 120

    assert (await limiter.hit("Anna")).remaining == 0


async def test_callers_who_left_take_no_memory() -> None:
    watch = Watch()
    limiter = _limiter(watch)
    for number in range(1000):
        await limiter.hit(f"caller {number}")

    watch.now_s += 120
    await limiter.hit("Anna")

    assert limiter.keys() == {"Anna"}


async def test_a_flood_of_callers_takes_bounded_memory() -> None:
    limiter = MemoryLimiter(limit=3, window_s=60, monotonic=Watch(), most_keys=10)

    for number in range(1000):
        await limiter.hit(f"caller {number}")

    assert limiter.keys() == {f"caller {number}" for number in range(990, 1000)}


def test_off_is_no_limiter_at_all() -> None:
    assert limiter_of("off") is None


@pytest.mark.parametrize(
    ("rate", "limit", "window_s"),
    [("100/minute", 100, 60), ("5/second", 5, 1), ("7/day", 7, 86400)],
)
def test_a_rate_is_read_as_it_is_written(rate: str, limit: int, window_s: int) -> None:
    limiter = limiter_of(rate)

    assert limiter is not None
    assert (limiter.limit, limiter.window_s) == (limit, window_s)


@pytest.mark.parametrize("rate", ["", "many", "0/minute", "-1/minute"])
def test_a_rate_that_cannot_be_meant_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match=r"rate|notation"):
        limiter_of(rate)


async def test_while_redis_is_away_each_process_counts_for_itself() -> None:
    pytest.importorskip("redis", reason="the extra named redis is not installed")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{nobody.getsockname()[1]}/0"
        limiter = limiter_of("2/minute", redis_url=url)
        assert isinstance(limiter, RedisLimiter)

        verdicts = [await limiter.hit("Anna") for _ in range(3)]
        await limiter.close()

    assert [verdict.allowed for verdict in verdicts] == [True, True, False]
