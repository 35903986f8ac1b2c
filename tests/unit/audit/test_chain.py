"""What an event becomes, and that a chain's hash depends on every part of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.audit.domain import (
    GENESIS,
    Draft,
    action_of,
    data_key_seal,
    parted,
    placed,
    subject_of,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DRAFT = Draft(
    event_id=UUID(int=1),
    actor_id=None,
    action="account.frozen",
    subject="wallet",
    key="wallet",
    request_id=None,
    trace_id=None,
    created_at=NOW,
    before=None,
    after=None,
    details="{}",
)
CHANGES = {
    "event_id": UUID(int=2),
    "actor_id": UUID(int=0),
    "action": "account.closed",
    "subject": "wallets",
    "key": "other",
    "request_id": "",
    "trace_id": "",
    "created_at": NOW + timedelta(microseconds=1),
    "before": "{}",
    "after": "{}",
    "details": "{ }",
    "person_id": UUID(int=0),
    "personal": b"",
}


def head_of(*drafts: Draft, chain: int = 1, recorded_at: datetime = NOW) -> bytes:
    records = placed(drafts, chain=chain, sequence=0, previous=GENESIS, recorded_at=recorded_at)
    return records[-1].hash


@pytest.mark.parametrize("field", CHANGES)
def test_a_hash_covers_every_field_and_tells_nothing_from_empty(field: str):
    assert head_of(msgspec.structs.replace(DRAFT, **{field: CHANGES[field]})) != head_of(DRAFT)


def test_no_field_of_a_record_is_left_out_of_that():
    assert set(CHANGES) == set(Draft.__struct_fields__)


def test_a_hash_covers_its_place_its_time_and_what_came_before():
    second = msgspec.structs.replace(DRAFT, event_id=UUID(int=2))

    heads = {
        head_of(DRAFT),
        head_of(DRAFT, chain=2),
        head_of(DRAFT, recorded_at=NOW + timedelta(microseconds=1)),
        head_of(DRAFT, second),
        head_of(second, DRAFT),
    }

    assert len(heads) == 5


def test_what_moves_from_one_text_to_the_next_changes_the_hash():
    left = msgspec.structs.replace(DRAFT, subject="ab", key="c")
    right = msgspec.structs.replace(DRAFT, subject="a", key="bc")

    assert head_of(left) != head_of(right)


@given(st.integers(1, 20), st.integers(0, 20))
def test_a_chain_that_goes_on_is_the_same_as_one_made_at_once(first: int, second: int):
    drafts = [msgspec.structs.replace(DRAFT, event_id=UUID(int=n)) for n in range(first + second)]
    begun = placed(drafts[:first], chain=1, sequence=0, previous=GENESIS, recorded_at=NOW)
    end = begun[-1]

    going_on = placed(
        drafts[first:], chain=1, sequence=end.sequence, previous=end.hash, recorded_at=NOW
    )

    assert begun + going_on == placed(
        drafts, chain=1, sequence=0, previous=GENESIS, recorded_at=NOW
    )
    assert [record.sequence for record in begun + going_on] == list(range(1, first + second + 1))


@pytest.mark.parametrize(
    ("event_type", "data", "subject"),
    [
        ("com.guilder.transaction.completed", {"transaction_id": "t", "user_id": "u"}, "t"),
        ("com.guilder.user.registered", {"user_id": "u"}, "u"),
        ("com.guilder.account.frozen", {"wallet_id": "w"}, "key"),
        ("com.guilder.transaction.completed", {"transaction_id": None}, "key"),
        ("com.guilder.transaction.completed", {"transaction_id": ""}, "key"),
        ("com.guilder.transaction.completed", {"transaction_id": 5}, "key"),
        ("elsewhere", {}, "key"),
    ],
)
def test_a_subject_is_what_the_type_names_or_else_the_key(
    event_type: str, data: dict[str, object], subject: str
):
    assert subject_of(event_type, "key", data) == subject


def test_an_action_is_the_type_without_its_prefix():
    assert action_of("com.guilder.transaction.completed") == "transaction.completed"
    assert action_of("org.example.thing.happened") == "org.example.thing.happened"


def test_before_and_after_are_parted_from_the_rest_where_they_are_objects():
    assert parted({"before": {"a": 1}, "after": {"a": 2}, "b": 3}) == (
        '{"a":1}',
        '{"a":2}',
        '{"b":3}',
    )
    assert parted({"before": None, "after": "noon"}) == (
        None,
        None,
        '{"before":null,"after":"noon"}',
    )


def test_the_seal_of_a_key_covers_every_column():
    key = {
        "person_id": UUID(int=1),
        "key_id": UUID(int=2),
        "wrapped": b"w",
        "created_at": NOW,
        "erased_at": None,
    }
    changes = {
        "person_id": UUID(int=3),
        "key_id": UUID(int=3),
        "wrapped": None,
        "created_at": NOW + timedelta(microseconds=1),
        "erased_at": NOW,
    }

    seals = {data_key_seal(**{**key, field: value}) for field, value in changes.items()}

    assert len(seals | {data_key_seal(**key)}) == 6
