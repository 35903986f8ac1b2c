"""Who is told what of an event, and how often a message is tried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from guilder.identity.events import (
    NewDeviceUsed,
    PasswordChanged,
    SecondFactorGuessed,
    SeenDevice,
    SessionsEnded,
    SignInCodesGuessed,
    UserRegistered,
)
from guilder.kernel.ids import SessionId, TransactionId, UserId, WalletId
from guilder.notifications.api import Category
from guilder.notifications.domain.deliveries import MOST_ATTEMPTS, next_pause
from guilder.notifications.domain.notices import (
    TEMPLATES,
    Notice,
    OwnerUnknown,
    WebhookDisabled,
    of_disabled_webhook,
    of_failure,
    of_guessed_codes,
    of_guesses,
    of_new_device,
    of_password,
    of_payment,
    of_registration,
    of_stolen_session,
    of_wallet,
)
from guilder.payments.events import TransactionCompleted, TransactionFailed
from guilder.wallets.events import WalletCreated

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANNA, BEN = UserId(uuid4()), UserId(uuid4())
ANNAS, ANNAS_OTHER, BENS = WalletId(uuid4()), WalletId(uuid4()), WalletId(uuid4())
OWNERS = {ANNAS: ANNA, ANNAS_OTHER: ANNA, BENS: BEN}


def payment(
    source: WalletId | None, target: WalletId | None, *, effective_at: datetime | None = None
) -> TransactionCompleted:
    return TransactionCompleted(
        transaction_id=TransactionId(uuid4()),
        transaction_type="transfer",
        initiated_by=ANNA,
        from_wallet_id=source,
        to_wallet_id=target,
        amount="100.00",
        currency="INR",
        completed_at=NOW,
        effective_at=effective_at,
    )


def failure(reason: str) -> TransactionFailed:
    return TransactionFailed(
        transaction_id=TransactionId(uuid4()),
        transaction_type="transfer",
        initiated_by=ANNA,
        from_wallet_id=ANNAS,
        to_wallet_id=BENS,
        amount="100.00",
        currency="INR",
        reason=reason,
        failed_at=NOW,
    )


def told(notices: list[Notice]) -> list[tuple[UserId, str]]:
    return [(notice.user_id, notice.template) for notice in notices]


def test_both_sides_of_a_payment_hear_of_it_and_see_their_own_wallet() -> None:
    sent, received = of_payment(payment(ANNAS, BENS), owners=OWNERS)

    assert told([sent, received]) == [(ANNA, "payment_sent"), (BEN, "payment_received")]
    assert (sent.values["wallet_id"], sent.values["other_wallet_id"]) == (str(ANNAS), str(BENS))
    assert (received.values["wallet_id"], received.values["other_wallet_id"]) == (
        str(BENS),
        str(ANNAS),
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (None, BENS, [(BEN, "deposit_received")]),
        (ANNAS, None, [(ANNA, "withdrawal_made")]),
        (ANNAS, ANNAS_OTHER, [(ANNA, "payment_moved")]),
        (None, None, []),
    ],
)
def test_who_is_alone_in_a_payment_hears_once(
    source: WalletId | None, target: WalletId | None, expected: list[tuple[UserId, str]]
) -> None:
    assert told(of_payment(payment(source, target), owners=OWNERS)) == expected


def test_a_payment_with_a_wallet_that_nobody_knows_waits() -> None:
    with pytest.raises(OwnerUnknown):
        of_payment(payment(ANNAS, WalletId(uuid4())), owners=OWNERS)


def test_a_payment_that_counts_from_an_earlier_time_happened_then() -> None:
    earlier = NOW - timedelta(days=30)

    notices = of_payment(payment(ANNAS, BENS, effective_at=earlier), owners=OWNERS)

    assert {notice.at for notice in notices} == {earlier}


def test_who_tried_to_pay_hears_why_it_failed() -> None:
    (notice,) = of_failure(failure("INSUFFICIENT_FUNDS"))

    assert told([notice]) == [(ANNA, "payment_failed")]
    assert notice.values["reason"] == "INSUFFICIENT_FUNDS"


def test_a_limit_is_news_of_its_own_kind() -> None:
    assert told(of_failure(failure("LIMIT_EXCEEDED"))) == [(ANNA, "limit_reached")]


def test_people_are_welcomed_and_get_their_wallets_details() -> None:
    registered = UserRegistered(
        user_id=ANNA, user_admin_account_id=UserId(uuid4()), registered_at=NOW
    )
    created = WalletCreated(wallet_id=ANNAS, owner_id=ANNA, currency="INR", status="pending")

    assert told(of_registration(registered)) == [(ANNA, "welcome")]
    assert told(of_wallet(created, at=NOW)) == [(ANNA, "account_details")]


def test_a_sign_in_from_a_new_device_is_about_security() -> None:
    (notice,) = of_new_device(
        NewDeviceUsed(
            user_id=ANNA,
            account_id=ANNA,
            account_type="customer",
            session_id=SessionId(uuid4()),
            used_at=NOW,
        )
    )

    assert notice.category is Category.SECURITY
    assert (notice.template, notice.values["account_type"]) == ("new_device", "customer")
    assert set(notice.values) == set(TEMPLATES["new_device"].fields)


def test_a_sign_in_from_a_new_place_says_with_what_and_from_where() -> None:
    (notice,) = of_new_device(
        NewDeviceUsed(
            user_id=ANNA,
            account_id=ANNA,
            account_type="customer",
            session_id=SessionId(uuid4()),
            used_at=NOW,
            personal=SeenDevice(device="Firefox on Windows", network="203.0.0.0/16"),
        )
    )

    assert notice.values["device"] == "Firefox on Windows"
    assert notice.values["network"] == "203.0.0.0/16"


def test_a_new_device_that_was_told_of_as_in_releases_before_is_news_all_the_same() -> None:
    told_before = {
        "user_id": str(ANNA),
        "account_id": str(ANNA),
        "account_type": "customer",
        "session_id": str(uuid4()),
        "used_at": "2026-11-20T12:00:00Z",
        "device": "Firefox on Windows",
        "network": "203.0.0.0/16",
    }

    (notice,) = of_new_device(msgspec.convert(told_before, NewDeviceUsed))

    assert (notice.user_id, notice.template) == (ANNA, "new_device")


def test_a_stolen_session_is_about_security() -> None:
    (notice,) = of_stolen_session(
        SessionsEnded(
            user_id=ANNA,
            session_ids=(SessionId(uuid4()),),
            reason="refresh_reused",
            ended_at=NOW,
        )
    )

    assert (notice.template, notice.category) == ("session_stolen", Category.SECURITY)


def test_guesses_at_codes_and_another_password_are_about_security() -> None:
    guessed = SecondFactorGuessed(user_id=ANNA, failures=5, blocked_until=NOW)
    changed = PasswordChanged(user_id=ANNA, by="reset", changed_at=NOW)

    (of_guess,), (of_change,) = of_guesses(guessed, at=NOW), of_password(changed)

    assert (of_guess.template, of_guess.category) == ("second_factor_guessed", Category.SECURITY)
    assert (of_change.template, of_change.category) == ("password_changed", Category.SECURITY)


def test_whose_sign_in_codes_are_guessed_at_hears_of_it() -> None:
    (notice,) = of_guessed_codes(SignInCodesGuessed(user_id=ANNA, failures=10, guessed_at=NOW))

    assert (notice.template, notice.category) == ("login_code_guessed", Category.SECURITY)


def test_whose_password_may_have_been_a_strangers_hears_that_it_opens_nothing_any_more() -> None:
    (notice,) = of_password(PasswordChanged(user_id=ANNA, by="reclaim", changed_at=NOW))

    assert (notice.template, notice.category) == ("password_voided", Category.SECURITY)


def test_who_runs_a_failing_webhook_hears_that_it_is_switched_off() -> None:
    fact = WebhookDisabled(endpoint_id=uuid4(), owner_id=BEN)

    assert told(of_disabled_webhook(fact, at=NOW)) == [(BEN, "webhook_disabled")]


def test_notices_have_exactly_the_values_their_templates_take() -> None:
    notices = [
        *of_payment(payment(ANNAS, BENS), owners=OWNERS),
        *of_payment(payment(None, BENS), owners=OWNERS),
        *of_payment(payment(ANNAS, None), owners=OWNERS),
        *of_payment(payment(ANNAS, ANNAS_OTHER), owners=OWNERS),
        *of_failure(failure("ACCOUNT_FROZEN")),
        *of_disabled_webhook(WebhookDisabled(endpoint_id=uuid4(), owner_id=BEN), at=NOW),
        *of_failure(failure("LIMIT_EXCEEDED")),
    ]

    for notice in notices:
        assert set(notice.values) == set(TEMPLATES[notice.template].fields), notice.template


def test_pauses_grow_and_end() -> None:
    pauses = [next_pause(attempt) for attempt in range(1, MOST_ATTEMPTS + 1)]

    assert pauses[-1] is None
    waits = [pause for pause in pauses if pause is not None]
    assert len(waits) == MOST_ATTEMPTS - 1
    assert waits == sorted(set(waits))
