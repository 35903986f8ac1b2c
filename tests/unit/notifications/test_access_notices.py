"""Whoever did not open their account to a provider or a program hears of it, in every language."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from guilder.identity.events import (
    ClientAdded,
    ClientSecretRotated,
    OutsideIdentityLinked,
    OutsideIdentityUnlinked,
)
from guilder.kernel.ids import UserId
from guilder.notifications.api import Category
from guilder.notifications.domain.notices import AccessChange, of_access
from guilder.notifications.domain.preferences import LANGUAGES
from guilder.notifications.service.wording import Writer

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
ANNA, CLIENT = UserId(uuid4()), UserId(uuid4())


def added(user_id: UserId | None) -> ClientAdded:
    return ClientAdded(
        client_id=CLIENT, user_id=user_id, scopes=(), by=ANNA, personal=None, added_at=NOW
    )


CHANGES: list[tuple[AccessChange, str]] = [
    (
        OutsideIdentityLinked(user_id=ANNA, provider="acme", linked_by="user", linked_at=NOW),
        "another provider was linked",
    ),
    (OutsideIdentityUnlinked(user_id=ANNA, provider="acme", unlinked_at=NOW), "was unlinked"),
    (added(ANNA), "a program was given access"),
    (
        ClientSecretRotated(
            client_id=CLIENT,
            user_id=ANNA,
            by=ANNA,
            previous_until=None,
            tokens_ended=True,
            personal=None,
            rotated_at=NOW,
        ),
        "got a new secret",
    ),
]


@pytest.fixture(scope="module")
def writer() -> Writer:
    return Writer(region="IN")


@pytest.mark.parametrize(("fact", "words"), CHANGES)
def test_a_new_way_in_is_told_as_what_it_is(writer: Writer, fact: AccessChange, words: str) -> None:
    (notice,) = of_access(fact, at=NOW)

    wording = writer.write(
        notice.template, notice.values, language="en", time_zone="Asia/Kolkata", name="Anna"
    )
    assert (notice.user_id, notice.category) == (ANNA, Category.SECURITY)
    assert words in wording.text
    assert words in wording.short


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_way_in_has_words_of_its_own(writer: Writer, language: str) -> None:
    said = set()
    for fact, _ in CHANGES:
        (notice,) = of_access(fact, at=NOW)
        wording = writer.write(
            notice.template, notice.values, language=language, time_zone="UTC", name="Anna"
        )
        assert notice.values["change"] not in wording.text
        said.add(wording.short)

    assert len(said) == len(CHANGES)


def test_a_program_of_the_house_is_told_to_nobody() -> None:
    assert of_access(added(None), at=NOW) == []
