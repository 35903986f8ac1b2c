"""Whoever did not change how they sign in hears of it, in words, in every language."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from guilder.identity.events import (
    Reasoned,
    RecoveryCodesReplaced,
    RecoveryCodeUsed,
    SecondFactorAdded,
    SecondFactorGuessed,
    SecondFactorRemoved,
)
from guilder.identity.events.staff import SecondFactorsReset
from guilder.kernel.ids import UserId
from guilder.notifications.api import Category
from guilder.notifications.domain.notices import FactorChange, of_factors, of_guesses
from guilder.notifications.domain.preferences import LANGUAGES
from guilder.notifications.service.wording import Writer

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANNA, BEN = UserId(uuid4()), UserId(uuid4())
CHANGES: list[tuple[FactorChange, str]] = [
    (SecondFactorAdded(user_id=ANNA, factor="totp", added_at=NOW), "app was added"),
    (SecondFactorAdded(user_id=ANNA, factor="passkey", added_at=NOW), "passkey was added"),
    (SecondFactorRemoved(user_id=ANNA, factor="totp", removed_at=NOW), "app was removed"),
    (SecondFactorRemoved(user_id=ANNA, factor="passkey", removed_at=NOW), "passkey was removed"),
    (RecoveryCodesReplaced(user_id=ANNA, replaced_at=NOW), "new recovery codes"),
    (RecoveryCodeUsed(user_id=ANNA, left=9, used_at=NOW), "recovery code was used"),
    (
        SecondFactorsReset(user_id=ANNA, by=BEN, personal=Reasoned(reason="Lost."), reset_at=NOW),
        "our staff removed",
    ),
]


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(region="IN")


@pytest.mark.parametrize(("fact", "words"), CHANGES)
def test_a_change_is_told_as_what_it_was(writer: Writer, fact: FactorChange, words: str) -> None:
    (notice,) = of_factors(fact, at=NOW)

    wording = writer.write(
        notice.template, notice.values, language="en", time_zone="Asia/Kolkata", name="Anna"
    )
    assert (notice.user_id, notice.category) == (ANNA, Category.SECURITY)
    assert words in wording.text
    assert words in wording.short
    assert "Lost." not in wording.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_change_has_words_of_its_own(writer: Writer, language: str) -> None:
    said = set()
    for fact, _ in CHANGES:
        (notice,) = of_factors(fact, at=NOW)
        wording = writer.write(
            notice.template, notice.values, language=language, time_zone="UTC", name="Anna"
        )
        assert notice.values["change"] not in wording.text
        said.add(wording.short)

    assert len(said) == len(CHANGES)


def test_guesses_are_told_to_whose_codes_they_were() -> None:
    fact = SecondFactorGuessed(user_id=ANNA, failures=5, blocked_until=NOW)

    (notice,) = of_guesses(fact, at=NOW)

    assert (notice.user_id, notice.template) == (ANNA, "second_factor_guessed")
