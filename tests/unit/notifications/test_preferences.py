"""What people want to hear: defaults, choices, and quiet hours at their edges."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from guilder.notifications.api import Category, Channel
from guilder.notifications.domain.preferences import (
    Preferences,
    QuietHours,
    is_fixed,
    is_known,
    time_zones,
)

NIGHT = QuietHours(start=time(22), end=time(7))
KOLKATA = "Asia/Kolkata"


def chosen(
    *, time_zone: str = KOLKATA, quiet: QuietHours | None = None, **choices: bool
) -> Preferences:
    """``payments_email=False`` and the like."""
    by_pair = {}
    for name, wanted in choices.items():
        category, _, channel = name.partition("_")
        by_pair[Category(category), Channel(channel)] = wanted
    return Preferences(language="en", time_zone=time_zone, quiet=quiet, choices=by_pair)


@pytest.mark.parametrize(
    "name",
    ["localtime", "posixrules", "Factory", "right/UTC", "posix/UTC", "../UTC", "Mars/Olympus", ""],
)
def test_a_time_zone_that_not_every_machine_has_cannot_be_chosen(name: str) -> None:
    assert name not in time_zones()
    assert time_zones() >= {KOLKATA, "UTC", "America/Argentina/Buenos_Aires"}


@pytest.mark.parametrize("name", ["Mars/Olympus", "../UTC", "", "Asia"])
def test_a_time_zone_of_another_machine_is_not_known(name: str) -> None:
    assert not is_known(name)
    assert is_known(KOLKATA)


@pytest.mark.parametrize(
    ("category", "by_default"),
    [
        (Category.SECURITY, {Channel.IN_APP, Channel.EMAIL, Channel.PUSH}),
        (Category.PAYMENTS, {Channel.IN_APP, Channel.EMAIL, Channel.PUSH}),
        (Category.ACCOUNT, {Channel.IN_APP, Channel.EMAIL}),
        (Category.MARKETING, {Channel.IN_APP}),
    ],
)
def test_who_chose_nothing_hears_by_default(category: Category, by_default: set[Channel]) -> None:
    assert {ch for ch in Channel if chosen().wants(category, ch)} == by_default


def test_a_choice_holds_for_its_category_and_channel_alone() -> None:
    preferences = chosen(payments_email=False, marketing_sms=True)

    assert not preferences.wants(Category.PAYMENTS, Channel.EMAIL)
    assert preferences.wants(Category.ACCOUNT, Channel.EMAIL)
    assert preferences.wants(Category.MARKETING, Channel.SMS)
    assert not preferences.wants(Category.PAYMENTS, Channel.SMS)


def test_security_is_told_whatever_is_stored() -> None:
    preferences = chosen(security_email=False, security_in_app=False, security_sms=True)

    assert preferences.wants(Category.SECURITY, Channel.EMAIL)
    assert preferences.wants(Category.SECURITY, Channel.IN_APP)
    assert preferences.wants(Category.SECURITY, Channel.SMS)
    assert not is_fixed(Category.SECURITY, Channel.SMS)
    assert not is_fixed(Category.PAYMENTS, Channel.EMAIL)


@pytest.mark.parametrize(
    ("local", "sent"),
    [
        ("2026-11-20T21:59:59.999999", "2026-11-20T21:59:59.999999"),
        ("2026-11-20T22:00:00", "2026-11-21T07:00:00"),
        ("2026-11-20T23:59:59", "2026-11-21T07:00:00"),
        ("2026-11-21T00:00:00", "2026-11-21T07:00:00"),
        ("2026-11-21T06:59:59.999999", "2026-11-21T07:00:00"),
        ("2026-11-21T07:00:00", "2026-11-21T07:00:00"),
        ("2026-11-21T12:00:00", "2026-11-21T12:00:00"),
    ],
)
def test_quiet_hours_past_midnight_end_in_the_morning(local: str, sent: str) -> None:
    now = datetime.fromisoformat(f"{local}+05:30")

    at = chosen(quiet=NIGHT).send_at(now.astimezone(UTC), Category.PAYMENTS)

    assert at == datetime.fromisoformat(f"{sent}+05:30")


@pytest.mark.parametrize(
    ("local", "sent"),
    [("12:59:00", "12:59:00"), ("13:00:00", "14:30:00"), ("14:29:00", "14:30:00")],
)
def test_quiet_hours_within_a_day_end_the_same_day(local: str, sent: str) -> None:
    rest = QuietHours(start=time(13), end=time(14, 30))

    at = chosen(quiet=rest).send_at(
        datetime.fromisoformat(f"2026-11-20T{local}+05:30"), Category.ACCOUNT
    )

    assert at == datetime.fromisoformat(f"2026-11-20T{sent}+05:30")


def test_quiet_hours_are_those_of_the_persons_own_zone() -> None:
    now = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)

    assert chosen(quiet=NIGHT).send_at(now, Category.PAYMENTS) > now
    assert chosen(quiet=NIGHT, time_zone="Europe/Berlin").send_at(now, Category.PAYMENTS) == now


def test_quiet_hours_that_begin_as_they_end_are_none() -> None:
    now = datetime(2026, 11, 20, 16, 30, tzinfo=UTC)

    at = chosen(quiet=QuietHours(start=time(22), end=time(22))).send_at(now, Category.PAYMENTS)

    assert at == now


def test_quiet_hours_that_end_within_a_skipped_hour_end_after_it() -> None:
    # on 29 March 2026 clocks in Berlin go from 02:00 to 03:00
    now = datetime(2026, 3, 28, 23, 30, tzinfo=UTC)
    quiet = QuietHours(start=time(22), end=time(2, 30))

    at = chosen(quiet=quiet, time_zone="Europe/Berlin").send_at(now, Category.PAYMENTS)

    assert at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_security_knows_no_quiet_hours() -> None:
    now = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)

    assert chosen(quiet=NIGHT).send_at(now, Category.SECURITY) == now


def test_who_has_no_quiet_hours_is_told_at_once() -> None:
    now = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)

    assert chosen().send_at(now, Category.MARKETING) == now
