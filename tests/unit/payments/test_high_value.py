"""Which transfers are high, by currency, and where their verification stands among the rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from guilder.apps.compose import build_house
from guilder.identity.api.verifications import InvalidVerificationToken
from guilder.kernel.currencies import CURRENCIES
from guilder.kernel.errors import Refusal
from guilder.kernel.ids import TransactionId, WalletId
from guilder.kernel.money import BadAmount
from guilder.payments.api import CurrencyMismatch, Outcome, PaymentOrder, PaymentType
from guilder.payments.domain import Numbered, high_value, is_high, verified_parameters
from guilder.platform.db import Database
from guilder.platform.identifiers import new_id
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart
from guilder.wallets.api import WalletNotFound, WalletStatus
from tests.support.counter import ANNA, BEN, Counter, deposit, transfer, withdrawal


def order(amount_minor: int, code: str = "INR") -> PaymentOrder:
    source, to = WalletId(new_id()), WalletId(new_id())
    return transfer(source, to, amount_minor=amount_minor, currency=CURRENCIES[code])


def test_every_currency_has_a_limit() -> None:
    table = high_value()

    assert set(table) == set(CURRENCIES)
    assert all(most > 0 for most in table.values())


@pytest.mark.parametrize(
    ("code", "most_minor"), [("INR", 50_000_00), ("JPY", 80_000), ("BHD", 200_000)]
)
def test_limits_are_in_minor_units_of_their_currency(code: str, most_minor: int) -> None:
    table = high_value()

    assert not is_high(order(most_minor, code), high_value=table)
    assert is_high(order(most_minor + 1, code), high_value=table)


def test_installation_changes_the_limits_it_names() -> None:
    table = high_value(["INR 100000.50", "USD 1"])

    assert (table["INR"], table["USD"]) == (100_000_50, 100)
    assert table["EUR"] == high_value()["EUR"]


@pytest.mark.parametrize("change", ["INR", "RUPEES 5", "", "inr 5"])
def test_change_of_no_currency_is_refused(change: str) -> None:
    with pytest.raises((ValueError, BadAmount)):
        high_value([change])


@pytest.mark.parametrize("change", ["INR -1", "INR 0", "JPY 0.5", "INR 5 000"])
def test_change_to_no_amount_is_refused(change: str) -> None:
    with pytest.raises(BadAmount):
        high_value([change])


async def test_limits_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, high_value_transfers=("INR 5000", "RUPEES 5"))

    with pytest.raises(CannotStart, match="GUILDER_HIGH_VALUE_TRANSFERS: RUPEES"):
        build_house(settings, db=Database.unconnected())


def test_only_transfers_are_high() -> None:
    table = {"INR": 1}
    wallet = WalletId(new_id())

    others = [deposit(wallet, amount_minor=2), withdrawal(wallet, amount_minor=2)]

    assert [is_high(other, high_value=table) for other in others] == [False, False]
    assert {other.type for other in others} == {PaymentType.DEPOSIT, PaymentType.WITHDRAWAL}


def test_without_a_table_nothing_is_high() -> None:
    assert not is_high(order(10**12), high_value={})


@pytest.fixture
def counter() -> Counter:
    """One where more than a rupee is much."""
    return Counter(high_value={"INR": 100})


def judged(
    counter: Counter, order: PaymentOrder, *verdicts: Refusal | None
) -> tuple[Outcome, Numbered]:
    """What comes of an order whose token, if there is a verdict on one, is good or not."""
    numbered = Numbered(TransactionId(new_id()), order)
    counter.verdicts.update(dict.fromkeys([numbered.id] if verdicts else [], *verdicts))
    (outcome,) = counter.decide([numbered]).outcomes
    return outcome, numbered


def test_unverified_transfer_asks_and_keeps_nothing(counter: Counter) -> None:
    source, to = counter.open(ANNA, funds_minor=500), counter.open(BEN)

    outcome, _ = judged(counter, transfer(source, to, amount_minor=101))

    assert outcome.needs_verification
    assert (outcome.payment, outcome.refusal) == (None, None)
    assert (counter.balance(source), counter.claims) == (500, {})


def test_bad_token_refuses_and_keeps_nothing(counter: Counter) -> None:
    source, to = counter.open(ANNA, funds_minor=500), counter.open(BEN)

    outcome, _ = judged(counter, transfer(source, to, amount_minor=101), InvalidVerificationToken())

    assert isinstance(outcome.refusal, InvalidVerificationToken)
    assert (outcome.payment, counter.balance(source), counter.claims) == (None, 500, {})


def test_good_token_moves_the_money_and_its_repetition_needs_none(counter: Counter) -> None:
    source, to = counter.open(ANNA, funds_minor=500), counter.open(BEN)
    high = transfer(source, to, amount_minor=101, key="rent")

    made, numbered = judged(counter, high, None)
    again, _ = judged(counter, high)

    assert made.payment is not None
    assert made.payment.id == numbered.id
    assert again.is_replay
    assert again.payment == made.payment
    assert counter.balance(source) == 399


def test_wallets_and_currency_are_judged_before_the_verification(counter: Counter) -> None:
    source, bens = counter.open(ANNA, funds_minor=500), counter.open(BEN, funds_minor=500)

    foreign, _ = judged(counter, transfer(bens, source, amount_minor=101))
    counter.high_value["USD"] = 100
    other, _ = judged(counter, transfer(source, bens, amount_minor=101, currency=CURRENCIES["USD"]))

    assert isinstance(foreign.refusal, WalletNotFound)
    assert isinstance(other.refusal, CurrencyMismatch)


@pytest.mark.parametrize("status", [WalletStatus.FROZEN, WalletStatus.CLOSED])
def test_the_verification_is_judged_before_the_state_of_the_wallet(
    status: WalletStatus, counter: Counter
) -> None:
    source, to = counter.open(ANNA, funds_minor=500), counter.open(BEN, status=status)

    unverified, _ = judged(counter, transfer(source, to, amount_minor=101))
    verified, _ = judged(counter, transfer(source, to, amount_minor=101), None)

    assert unverified.needs_verification
    assert verified.payment is not None
    assert verified.payment.failure is not None


def test_a_verification_is_bound_to_all_that_the_portal_shows_of_a_transfer() -> None:
    sent = replace(order(125_000_50), description="The rent")

    assert verified_parameters(sent) == {
        "from_wallet_id": str(sent.from_wallet_id),
        "to_wallet_id": str(sent.to_wallet_id),
        "amount": "125000.50",
        "currency": "INR",
        "description": "The rent",
    }
