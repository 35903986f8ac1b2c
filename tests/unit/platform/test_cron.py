"""Cron on the clocks of a place: against a minute-by-minute walk, and where clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guilder.platform.jobs.cron import Cron, WrongCron

MINUTE = timedelta(minutes=1)
FIELDS = st.tuples(
    st.sampled_from(["*", "0", "30", "*/20", "5-10", "7,43"]),
    st.sampled_from(["*", "0", "3", "9-17/4", "23"]),
    st.sampled_from(["*", "1", "1-7", "*/9"]),
    st.sampled_from(["*", "1-12/2", "3"]),
    st.sampled_from(["*", "0", "1-5", "7"]),
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fits(field: str, value: int, *, least: int, most: int) -> bool:
    """One field of a rule, read a value at a time."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        low = least if span == "*" else int(first)
        high = most if span == "*" else int(last or first)
        if low <= value <= high and (value - low) % int(step or 1) == 0:
            return True
    return False


def is_due(rule: str, moment: datetime) -> bool:
    minute, hour, day, month, weekday = rule.split()
    dow = moment.isoweekday() % 7
    in_day = fits(day, moment.day, least=1, most=31)
    in_week = any(fits(weekday, n, least=0, most=7) for n in ({0, 7} if dow == 0 else {dow}))
    either = day != "*" and weekday != "*"
    return (
        fits(minute, moment.minute, least=0, most=59)
        and fits(hour, moment.hour, least=0, most=23)
        and fits(month, moment.month, least=1, most=12)
        and (in_day or in_week if either else in_day and in_week)
    )


@settings(max_examples=60, deadline=None)
@given(FIELDS, st.integers(min_value=0, max_value=3 * 365 * 24 * 60))
def test_the_next_time_is_the_first_minute_that_fits(fields: tuple[str, ...], minutes: int):
    rule, moment = " ".join(fields), at("2024-01-01T00:00") + minutes * MINUTE
    walking = moment.replace(second=0, microsecond=0) + MINUTE
    horizon = walking + timedelta(days=6)
    while walking < horizon and not is_due(rule, walking):
        walking += MINUTE

    found = Cron(rule=rule, time_zone="UTC").next_after(moment)

    assert found == walking if walking < horizon else found >= horizon


def test_a_time_is_of_the_place_it_is_meant_for():
    cron = Cron(rule="0 9 * * 1-5", time_zone="Asia/Kolkata")

    assert cron.next_after(at("2026-11-20T04:00")) == at("2026-11-23T03:30")


def test_a_time_that_the_clock_skips_comes_when_it_was_put_forward():
    cron = Cron(rule="30 2 * * *", time_zone="Europe/Berlin")

    assert cron.next_after(at("2026-03-28T12:00")) == at("2026-03-29T01:30")
    assert cron.next_after(at("2026-03-29T01:30")) == at("2026-03-30T00:30")


def test_a_time_that_the_clock_shows_twice_comes_once():
    cron = Cron(rule="30 2 * * *", time_zone="Europe/Berlin")

    assert cron.next_after(at("2026-10-24T12:00")) == at("2026-10-25T00:30")
    assert cron.next_after(at("2026-10-25T00:30")) == at("2026-10-26T01:30")


def test_every_quarter_of_an_hour_is_even_while_clocks_change():
    cron = Cron(rule="*/15 * * * *", time_zone="Europe/Berlin")
    for change in ("2026-03-28T22:00", "2026-10-24T22:00"):
        moment = at(change)
        for _ in range(40):
            following = cron.next_after(moment)

            assert following - moment == 15 * MINUTE
            moment = following


def test_the_last_day_of_february_is_found_eight_years_ahead():
    cron = Cron(rule="0 0 29 2 *", time_zone="UTC")

    assert cron.next_after(at("2096-03-01T00:00")) == at("2104-02-29T00:00")


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "x * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "1, * * * *",
        "٣ * * * *",
        "0 0 31 2 *",
        "- * * * *",
    ],
)  # fmt: skip - one line each says less
def test_a_rule_that_means_nothing_is_refused(rule: str):
    with pytest.raises(WrongCron):
        Cron(rule=rule, time_zone="UTC")


def test_the_time_zone_has_to_exist():
    with pytest.raises(KeyError):
        Cron(rule="* * * * *", time_zone="Mars/Olympus")
    assert ZoneInfo("Asia/Kolkata")
