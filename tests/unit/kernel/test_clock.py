"""Moments as microseconds: exact, of any zone, and the same whether remembered or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.clock import EPOCH, epoch_microseconds, shared_epoch_microseconds
from guilder.kernel.invariant import InvariantViolation


def _naive(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day)  # noqa: DTZ001 - asked for


ZONES = (UTC, timezone(timedelta(hours=-5)), ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata"))
MOMENTS = st.sampled_from(ZONES).flatmap(
    lambda zone: st.datetimes(
        _naive(1, 1, 3), _naive(9999, 12, 29), timezones=st.just(zone), allow_imaginary=False
    )
)


@given(moment=MOMENTS)
def test_microseconds_lead_back_to_the_moment(moment: datetime):
    for told in (epoch_microseconds(moment), shared_epoch_microseconds(moment)):
        assert EPOCH + timedelta(microseconds=told) == moment.astimezone(UTC)


def test_the_hour_that_comes_twice_is_two_hours():
    first = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    second = first.replace(fold=1)

    assert first == second
    assert shared_epoch_microseconds(second) - shared_epoch_microseconds(first) == 3_600_000_000


@pytest.mark.parametrize("read", [epoch_microseconds, shared_epoch_microseconds])
def test_a_moment_without_a_zone_is_refused(read: Callable[[datetime], int]):
    with pytest.raises(InvariantViolation):
        read(_naive(2026, 1, 1))
