"""Windows of controls roll over where the owner lives, through every change of clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.ledger.api import ControlLimits
from guilder.ledger.domain.controls import Controls, local_date, window_starts
from tests.support.books import ANNA_ID, BEN, NOON, account, control

ZONES = [
    "UTC",
    "Asia/Kolkata",
    "America/New_York",
    "America/Havana",  # shows midnight twice
    "Asia/Beirut",  # skips midnight
    "Pacific/Apia",
    "Pacific/Chatham",
    "Australia/Lord_Howe",  # moves by half an hour
]
moments = st.integers(0, 20 * 366 * 86_400 * 10**6).map(
    lambda passed: datetime(2015, 1, 1, tzinfo=UTC) + timedelta(microseconds=passed)
)


@given(moments, st.sampled_from(ZONES))
def test_a_window_begins_with_the_first_moment_of_its_day_and_month(moment: datetime, zone: str):
    day, month = window_starts(moment, zone)
    today = local_date(moment, zone)
    tick = timedelta(microseconds=1)

    assert month <= day <= moment
    assert local_date(day, zone) == today
    assert local_date(day - tick, zone) == today - timedelta(days=1)
    assert local_date(month, zone) == today.replace(day=1)
    assert local_date(month - tick, zone) == today.replace(day=1) - timedelta(days=1)


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("Asia/Kolkata", "2026-11-20T18:29:59+00:00", "2026-11-20T18:30:00+00:00"),
        # Clocks in Beirut go from 23:59:59 to 01:00; the new day begins there.
        ("Asia/Beirut", "2026-03-28T21:59:59+00:00", "2026-03-28T22:00:00+00:00"),
        ("America/New_York", "2026-11-01T03:59:59+00:00", "2026-11-01T04:00:00+00:00"),
    ],
)
def test_a_day_ends_at_midnight_where_the_owner_lives(zone: str, before: str, after: str):
    limit = control(
        time_zone=zone,
        limits=ControlLimits(per_day_minor=100),
        used_at=datetime.fromisoformat(before) - timedelta(hours=1),
    )
    limit.roll(datetime.fromisoformat(before))
    limit.use(100)

    assert limit.refusal(1) is not None
    limit.roll(datetime.fromisoformat(after))
    assert limit.refusal(100) is None


def test_a_day_of_25_hours_has_one_limit():
    zone = "America/New_York"
    limit = control(time_zone=zone, limits=ControlLimits(per_day_minor=100))
    first = datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    limit.roll(first)
    limit.use(60)

    limit.roll(first + timedelta(hours=1))  # half past one again

    assert limit.refusal(41) is not None
    assert limit.refusal(40) is None


def test_a_new_month_begins_anew_and_a_new_day_keeps_the_month():
    limit = control(
        limits=ControlLimits(per_day_minor=100, per_month_minor=150),
        used_at=datetime(2026, 11, 29, tzinfo=UTC),
    )
    limit.use(100)
    limit.roll(datetime(2026, 11, 30, tzinfo=UTC))

    refused = limit.refusal(51)

    assert refused is not None
    assert refused.details == {"window": "month", "limit": "1.50", "available": "0.50"}
    limit.roll(datetime(2026, 12, 1, tzinfo=UTC))
    assert limit.refusal(100) is None


def test_the_same_day_a_year_later_is_another_day():
    limit = control(used_at=NOON)
    limit.use(100)

    limit.roll(NOON.replace(year=2027))

    assert (limit.day_used_minor, limit.month_used_minor) == (0, 0)


def test_what_is_given_back_returns_to_the_windows_that_are_still_open():
    limit = control(used_at=datetime(2026, 11, 10, tzinfo=UTC))
    limit.use(100)
    used_at = limit.used_at
    limit.roll(datetime(2026, 11, 11, tzinfo=UTC))
    limit.use(10)

    limit.give_back(40, used_at=used_at)
    assert (limit.day_used_minor, limit.month_used_minor) == (10, 70)
    limit.give_back(10, used_at=limit.used_at)
    assert (limit.day_used_minor, limit.month_used_minor) == (0, 60)
    limit.roll(datetime(2026, 12, 1, tzinfo=UTC))
    limit.give_back(60, used_at=used_at)
    assert (limit.day_used_minor, limit.month_used_minor) == (0, 0)


def test_what_happened_before_the_control_is_not_given_back():
    limit = control(created_at=NOON, used_at=NOON)
    limit.use(50)

    limit.give_back(50, used_at=NOON - timedelta(microseconds=1))

    assert limit.day_used_minor == 50


def test_a_control_is_found_by_its_owner_and_by_its_account():
    by_owner, by_account = control(), control(subject_id=BEN)
    controls = Controls([by_owner, by_account], now=NOON)
    ben = account(BEN, owner_id=ANNA_ID)

    charged = controls.charges("transfer", [(ben, -5), (ben, 7), (account(), -9)])

    assert [(each.id, amount) for each, amount in charged] == [
        (by_account.id, 5),
        (by_owner.id, 5),
    ]
    assert controls.changed == [by_owner, by_account]


@given(
    st.lists(
        st.tuples(st.sampled_from(["use", "give back", "wait"]), st.integers(1, 400)), max_size=30
    )
)
def test_used_sums_are_those_of_the_uses_in_the_window(steps: list[tuple[str, int]]):
    zone = "Asia/Kolkata"
    limit = control(time_zone=zone, created_at=NOON, used_at=NOON)
    now, left = NOON, dict[datetime, int]()
    for step, number in steps:
        if step == "wait":
            now += timedelta(minutes=number * 10)
        limit.roll(now)
        if step == "use":
            limit.use(number)
            left[now] = left.get(now, 0) + number
        elif step == "give back" and left:
            used_at = sorted(left)[number % len(left)]
            limit.give_back(left.pop(used_at), used_at=used_at)

    today = local_date(now, zone)
    assert limit.day_used_minor == sum(n for t, n in left.items() if local_date(t, zone) == today)
    assert limit.month_used_minor == sum(
        n for t, n in left.items() if _month(t, zone) == _first(today)
    )


def _month(moment: datetime, zone: str) -> date:
    return _first(local_date(moment, zone))


def _first(day: date) -> date:
    return day.replace(day=1)
