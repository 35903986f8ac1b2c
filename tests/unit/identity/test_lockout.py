"""How long sign-ins wait after failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.domain.lockout import (
    Allowance,
    Backoff,
    Failures,
    one_more,
    wait,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FIVE = Backoff(free=5)


def failures(count: int, *, blocked_until: datetime | None = None) -> Failures:
    return Failures(count=count, last_at=NOON, blocked_until=blocked_until)


def test_each_failure_waits_twice_as_long_until_the_longest() -> None:
    pauses = [FIVE.pause(count).total_seconds() for count in range(1, 13)]

    assert pauses == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900]


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_nobody_waits_longer_than_the_longest(count: int) -> None:
    assert timedelta(0) <= FIVE.pause(count) <= FIVE.longest


def test_the_first_failure_is_one() -> None:
    assert one_more(None, at=NOON, backoff=FIVE) == failures(1)


def test_a_failure_more_blocks_from_now_on() -> None:
    counted = one_more(failures(4), at=NOON, backoff=FIVE)

    assert counted == failures(5, blocked_until=NOON + timedelta(seconds=30))


def test_failures_of_yesterday_are_forgotten() -> None:
    later = NOON + FIVE.forgets

    assert one_more(failures(40), at=later, backoff=FIVE).count == 1
    assert one_more(failures(40), at=later - timedelta(seconds=1), backoff=FIVE).count == 41


def test_whoever_is_blocked_waits_for_the_rest() -> None:
    blocked = failures(5, blocked_until=NOON + timedelta(seconds=30))

    assert wait(blocked, at=NOON + timedelta(seconds=10)) == timedelta(seconds=20)
    assert wait(blocked, at=NOON + timedelta(seconds=31)) == timedelta(0)
    assert wait(failures(3), at=NOON) == timedelta(0)
    assert wait(None, at=NOON) == timedelta(0)


def failed(times: int, *, every: timedelta) -> tuple[Failures, datetime]:
    """What is kept of failures of one address, and when the last of them was."""
    found, at = None, NOON
    for number in range(times):
        at = NOON + number * every
        found = THREE.one_more(found, at=at)
    assert found is not None
    return found, at


THREE = Allowance(at_once=3, pause=timedelta(seconds=10))


@pytest.mark.parametrize(
    ("times", "every_s", "wait_s"),
    [(1, 0, 0), (3, 0, 0), (4, 0, 10), (5, 0, 20), (4, 5, 0), (100, 10, 0), (7, 5, 10)],
)
def test_an_address_waits_for_what_is_beyond_its_allowance(
    times: int, every_s: int, wait_s: int
) -> None:
    found, at = failed(times, every=timedelta(seconds=every_s))

    assert wait(found, at=at) == timedelta(seconds=wait_s)


def test_what_turns_out_to_be_no_failure_leaves_the_allowance_as_it_was() -> None:
    before, at = failed(3, every=timedelta(0))

    after = THREE.one_less(THREE.one_more(before, at=at))

    assert after == before
    assert THREE.one_less(failures(0)) == failures(0)
