"""Who may hear of what, which filter fits what, and what follows from each answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from guilder.apps.reference import events
from guilder.webhooks.api import DeliveryId, UnknownEvents
from guilder.webhooks.domain import catalogue, filters
from guilder.webhooks.domain.schedule import (
    LONGEST_WAIT_S,
    MOST_JITTER,
    WAITS_S,
    Outcome,
    is_hopeless,
    judge,
)
from guilder.webhooks.service import signatures

COMPLETED = "com.guilder.transaction.completed"
ROOT = Path(__file__).resolve().parents[3]
WAITS_MS = [wait * 1000 for wait in WAITS_S]


@pytest.mark.parametrize(
    ("wanted", "type_", "fits"),
    [
        (["*"], COMPLETED, True),
        (["transaction.*"], COMPLETED, True),
        (["transaction.completed"], COMPLETED, True),
        (["account.*", "transaction.failed"], COMPLETED, False),
        (["transaction.failed", "transaction.completed"], COMPLETED, True),
        (["transaction"], COMPLETED, False),
        (["trans*"], COMPLETED, False),
        (["webhook.*"], COMPLETED, False),
    ],
)
def test_a_filter_is_a_type_a_prefix_or_everything(wanted: list[str], type_: str, fits: bool):
    assert filters.wanted(wanted, type_) is fits


def test_filters_are_kept_without_the_common_prefix_and_without_doubles():
    found = filters.normalised([COMPLETED, "transaction.completed", "com.guilder.account.*", "*"])

    assert found == ("transaction.completed", "account.*", "*")


@pytest.mark.parametrize(
    "text",
    [
        "transaction.settled",
        "transactions.*",
        "trans*",
        ".*",
        "**",
        "",
        "TRANSACTION.*",
    ],
)
def test_a_filter_that_fits_no_event_is_refused_with_those_there_are(text: str):
    found = filters.normalised(["transaction.*", text])

    assert isinstance(found, UnknownEvents)
    assert "transaction.completed" in found.details["known"]


@given(st.lists(st.sampled_from([*filters.known(), "*", "account.*", "transaction.*"])))
def test_normalising_filters_changes_nothing_about_what_they_want(texts: list[str]):
    found = filters.normalised(texts)

    assert not isinstance(found, UnknownEvents)
    for type_ in catalogue.PUBLIC:
        assert filters.wanted(found, type_) == filters.wanted(texts, type_)


def test_every_public_event_exists_and_has_the_fields_it_shows_and_is_routed_by():
    declared = {vars(kind)["TYPE"]: set(kind.__annotations__) for kind in events()}

    for type_, public in catalogue.PUBLIC.items():
        assert {*public.shows, *public.people, *public.wallets} <= declared[type_]
        assert public.people or public.wallets


def test_an_event_says_whom_it_concerns_and_shows_what_is_listed():
    anna, source, to = uuid4(), uuid4(), uuid4()
    data = {
        "initiated_by": str(anna),
        "from_wallet_id": str(source),
        "to_wallet_id": None,
        "amount": "1.00",
        "risk_score": 3,
    }

    assert catalogue.wallets(COMPLETED, data) == [source]
    assert catalogue.people(COMPLETED, data) == []
    assert catalogue.people("com.guilder.transaction.failed", data) == [anna]
    assert (
        catalogue.wallets("com.guilder.transaction.failed", {**data, "to_wallet_id": str(to)}) == []
    )
    assert catalogue.shown(COMPLETED, data) == {
        "from_wallet_id": str(source),
        "to_wallet_id": None,
        "amount": "1.00",
    }


def test_the_schedule_is_the_one_that_the_specification_recommends():
    verdicts = [
        judge(500, failures=failures, waits_ms=WAITS_MS, retry_after_s=None, jitter=0)
        for failures in range(10)
    ]

    assert [verdict.wait_ms // 1000 for verdict in verdicts[:9]] == [
        5,
        300,
        1800,
        7200,
        18000,
        36000,
        50400,
        72000,
        86400,
    ]  # fmt: skip - one line a schedule
    assert [verdict.outcome for verdict in verdicts] == [Outcome.RETRY] * 9 + [Outcome.GIVEN_UP]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (204, Outcome.DELIVERED),
        (299, Outcome.DELIVERED),
        (101, Outcome.RETRY),
        (300, Outcome.RETRY),
        (301, Outcome.RETRY),
        (308, Outcome.RETRY),
        (400, Outcome.RETRY),
        (404, Outcome.RETRY),
        (409, Outcome.RETRY),
        (410, Outcome.GONE),
        (429, Outcome.RETRY),
        (500, Outcome.RETRY),
        (503, Outcome.RETRY),
        (999, Outcome.RETRY),
        (None, Outcome.RETRY),
    ],
)
def test_only_a_status_of_the_two_hundreds_is_a_success(status: int | None, outcome: Outcome):
    found = judge(status, failures=0, waits_ms=WAITS_MS, retry_after_s=None, jitter=0)

    assert found.outcome is outcome


@pytest.mark.parametrize(
    ("status", "retry_after_s", "wait_s"),
    [
        (429, 60, 60),
        (503, 60, 60),
        (503, 1, 5),
        (500, 60, 5),
        (429, 10**9, LONGEST_WAIT_S),
        (429, None, 5),
    ],
)
def test_a_receiver_may_ask_for_more_time_up_to_a_day(
    status: int, retry_after_s: int | None, wait_s: int
):
    found = judge(status, failures=0, waits_ms=WAITS_MS, retry_after_s=retry_after_s, jitter=0)

    assert found.wait_ms == wait_s * 1000


@given(failures=st.integers(0, 8), jitter=st.integers(0, MOST_JITTER))
def test_jitter_only_lengthens_a_wait_and_by_a_fifth_at_most(failures: int, jitter: int):
    found = judge(500, failures=failures, waits_ms=WAITS_MS, retry_after_s=None, jitter=jitter)

    assert WAITS_MS[failures] <= found.wait_ms <= WAITS_MS[failures] * 12 // 10


def test_an_endpoint_is_hopeless_once_patience_is_over():
    since, patience = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=5)

    assert not is_hopeless(since, now=since + patience - timedelta(seconds=1), patience=patience)
    assert is_hopeless(since, now=since + patience, patience=patience)


@given(st.binary(max_size=300).map(lambda raw: msgspec.json.encode(raw.hex())))
def test_signatures_are_those_of_the_standard_library_for_any_body(body: bytes):
    now, delivery_id = datetime.now(UTC), DeliveryId(uuid4())
    secrets = [signatures.new_secret(), signatures.new_secret()]

    headers = signatures.signed(body, delivery_id=delivery_id, at=now, secrets=secrets)

    for secret in secrets:
        assert Webhook(signatures.shown(secret)).verify(body, headers) == msgspec.json.decode(body)
    expected = Webhook(secrets[0]).sign(str(delivery_id), now, body.decode())
    assert headers["webhook-signature"].split(" ")[0] == expected


def test_the_guide_shows_code_that_verifies_what_is_sent_and_nothing_else():
    guide = (ROOT / "docs" / "guides" / "webhooks.md").read_text(encoding="utf-8")
    shown: dict[str, Any] = {}
    exec(guide.split("```python\n")[1].split("```")[0], shown)
    secret, body = signatures.new_secret(), b'{"amount":"1.00"}'
    headers = signatures.signed(
        body,
        delivery_id=DeliveryId(uuid4()),
        at=datetime.now(UTC),
        secrets=[signatures.new_secret(), secret],
    )

    assert shown["verified"](signatures.shown(secret), headers, body)
    assert not shown["verified"](signatures.shown(secret), headers, body + b" ")
    assert not shown["verified"](signatures.shown(signatures.new_secret()), headers, body)
