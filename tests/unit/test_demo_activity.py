"""What the demonstration plans: the same for the same seed, and nothing that cannot be paid."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from guilder.apps.demo.activity import first_day, planned, pockets

UNTIL = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SINCE = first_day(UNTIL.date())


def test_activity_begins_on_the_first_day_three_months_before():
    assert first_day(date(2026, 11, 20)) == date(2026, 8, 1)
    assert first_day(date(2026, 2, 28)) == date(2025, 11, 1)


def test_a_seed_gives_the_same_payments_again():
    assert planned(seed=7, since=SINCE, until=UNTIL) == planned(seed=7, since=SINCE, until=UNTIL)
    assert planned(seed=7, since=SINCE, until=UNTIL) != planned(seed=8, since=SINCE, until=UNTIL)


def test_payments_are_between_wallets_that_are_opened_in_one_currency_and_in_the_past():
    opened = pockets()

    for payment in planned(seed=1, since=SINCE, until=UNTIL):
        ends = [end for end in (payment.source, payment.target) if end is not None]
        assert all(end in opened for end in ends)
        assert len({end.currency for end in ends}) == 1
        assert payment.source != payment.target
        assert payment.amount_minor > 0
        assert UNTIL - timedelta(days=125) < payment.at < UNTIL


def test_activity_is_in_six_currencies_and_in_order_of_time():
    payments = planned(seed=1, since=SINCE, until=UNTIL)

    assert {payment.pocket.currency.code for payment in payments} == {
        *("INR", "USD", "EUR", "GBP", "JPY", "BHD")
    }
    assert payments == sorted(payments, key=lambda payment: payment.at)
    assert len(payments) > 3_000
