"""Keys of persons and digests, without a database."""

from __future__ import annotations

from pathlib import Path

import pytest

from guilder.identity.store.person_keys import EMAIL, PHONE, PersonalKeys, opened, sealed
from guilder.kernel.ids import UserId
from guilder.platform.envelopes import FIRST_KEY, OuterKeys, Unreadable
from guilder.platform.identifiers import new_id
from guilder.platform.key_files import KeyUnusable

ANNA, BEN = UserId(new_id()), UserId(new_id())


@pytest.fixture
def keys(tmp_path: Path) -> PersonalKeys:
    return PersonalKeys(OuterKeys(tmp_path))


def test_a_field_is_read_back_with_its_persons_key(keys: PersonalKeys):
    made = keys.make(ANNA)
    stored = sealed("Anna Rao", key=made.key, user_id=ANNA, column="full_name")

    key = keys.open(ANNA, id=made.key.id, wrapped=made.wrapped)

    assert opened(stored, key=key, user_id=ANNA, column="full_name") == "Anna Rao"
    assert stored is not None
    assert b"Anna" not in stored


def test_what_is_absent_stays_absent(keys: PersonalKeys):
    key = keys.make(ANNA).key

    assert sealed(None, key=key, user_id=ANNA, column="phone") is None
    assert opened(None, key=key, user_id=ANNA, column="phone") is None


@pytest.mark.parametrize(("user_id", "column"), [(BEN, "email"), (ANNA, "full_name")])
def test_a_field_opens_nowhere_else(keys: PersonalKeys, user_id: UserId, column: str):
    key = keys.make(ANNA).key
    stored = sealed("anna@example.com", key=key, user_id=ANNA, column="email")

    with pytest.raises(Unreadable):
        opened(stored, key=key, user_id=user_id, column=column)


def test_a_wrapped_key_is_its_persons_alone(keys: PersonalKeys):
    made = keys.make(ANNA)

    with pytest.raises(Unreadable):
        keys.open(BEN, id=made.key.id, wrapped=made.wrapped)


def test_the_same_key_wrapped_anew_opens_what_it_sealed(keys: PersonalKeys):
    made = keys.make(ANNA)
    stored = sealed("Anna", key=made.key, user_id=ANNA, column="full_name")
    keys.add_outer_key(new_id())

    wrapped = keys.rewrap(ANNA, id=made.key.id, wrapped=made.wrapped)

    assert wrapped != made.wrapped
    key = keys.open(ANNA, id=made.key.id, wrapped=wrapped)
    assert opened(stored, key=key, user_id=ANNA, column="full_name") == "Anna"


def test_a_digest_is_steady_and_tells_kinds_values_and_keys_apart(keys: PersonalKeys):
    other = new_id()
    keys.add_index_key(other)

    digests = [
        keys.digest(kind, text, index_key=key)
        for kind in (EMAIL, PHONE)
        for text in ("anna@example.com", "ben@example.com")
        for key in (FIRST_KEY, other)
    ]

    assert len(set(digests)) == 8
    assert set(keys.digests(EMAIL, "anna@example.com")) == set(digests[:2])
    assert keys.digests(PHONE, None) == []


def test_an_index_key_that_the_folder_lacks_is_named(keys: PersonalKeys):
    missing = new_id()

    with pytest.raises(KeyUnusable, match=str(missing)):
        keys.digest(EMAIL, "anna@example.com", index_key=missing)
