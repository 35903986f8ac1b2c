"""What a refresh token means that comes again, how long sessions last, how tokens are spelled."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.domain import sessions as rules
from guilder.identity.domain.sessions import GRACE, Shown, Terms, Verdict, judge

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
A_WEEK = timedelta(days=7)
SECRET = bytes(range(32))

secrets = st.binary(min_size=32, max_size=32)


def shown(
    *,
    has_ended: bool = False,
    expires_at: datetime = NOON + A_WEEK,
    used_at: datetime | None = None,
    successor_is_used: bool = False,
) -> Shown:
    return Shown(
        has_ended=has_ended,
        expires_at=expires_at,
        used_at=used_at,
        successor_is_used=successor_is_used,
    )


@pytest.mark.parametrize(
    ("token", "verdict"),
    [
        (shown(), Verdict.ROTATE),
        (shown(expires_at=NOON + timedelta(microseconds=1)), Verdict.ROTATE),
        (shown(expires_at=NOON), Verdict.OVER),
        (shown(has_ended=True), Verdict.OVER),
        (shown(has_ended=True, used_at=NOON), Verdict.OVER),
        (shown(used_at=NOON), Verdict.REPEAT),
        (shown(used_at=NOON - GRACE), Verdict.REPEAT),
        (shown(used_at=NOON - GRACE - timedelta(microseconds=1)), Verdict.STOLEN),
        (shown(used_at=NOON, successor_is_used=True), Verdict.STOLEN),
        (shown(used_at=NOON - A_WEEK, expires_at=NOON), Verdict.OVER),
    ],
)
def test_a_token_is_judged_by_its_use_and_its_successors(token: Shown, verdict: Verdict) -> None:
    assert judge(token, at=NOON) is verdict


def test_a_session_rests_for_a_week_at_most() -> None:
    assert Terms().ends(used_at=NOON, started_at=NOON) == NOON + A_WEEK


def test_a_session_that_is_used_every_day_ends_once() -> None:
    terms = Terms(rests=timedelta(days=7), lasts=timedelta(days=10))

    ends = [terms.ends(used_at=NOON + timedelta(days=day), started_at=NOON) for day in range(1, 10)]

    assert max(ends) == NOON + timedelta(days=10)


@given(secrets)
def test_tokens_are_read_as_they_were_spelled(secret: bytes) -> None:
    assert rules.read_refresh_token(rules.spelled(secret)) == secret
    assert rules.read_device_token(rules.spelled_device(secret)) == secret


@given(secrets)
def test_one_kind_of_token_is_not_the_other(secret: bytes) -> None:
    assert rules.read_device_token(rules.spelled(secret)) is None
    assert rules.read_refresh_token(rules.spelled_device(secret)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "grt_",
        rules.spelled(SECRET)[:-1],
        rules.spelled(SECRET) + "=",
        rules.spelled(SECRET) + "\n",
        rules.spelled(SECRET)[:-1] + "9",
        rules.spelled(SECRET).upper(),
        rules.spelled(SECRET).replace("grt_", ""),
        "grt_" + "\N{FULLWIDTH LATIN SMALL LETTER A}" * 43,
    ],
)
def test_a_token_has_one_spelling(text: str) -> None:
    assert rules.read_refresh_token(text) is None


@given(secrets, secrets, secrets)
def test_a_successor_needs_both_the_secret_and_the_salt(
    one: bytes, other: bytes, salt: bytes
) -> None:
    same = rules.successor(one, salt=salt)

    assert len(same) == 32
    assert same == rules.successor(one, salt=salt)
    assert (same == rules.successor(other, salt=salt)) == (one == other)
    assert (same == rules.successor(one, salt=other)) == (salt == other)


def test_what_is_kept_of_a_secret_is_not_the_secret() -> None:
    assert rules.digest(SECRET) != SECRET
    assert rules.digest(SECRET) == rules.digest(bytes(range(32)))


def test_a_program_stays_the_same_when_its_version_changes() -> None:
    before = rules.program_of("Firefox/130.0 (Linux x86_64)")

    assert before == rules.program_of("Firefox/131.0.2 (Linux x86_64)")
    assert before != rules.program_of("Chrome/131.0 (Linux x86_64)")
    assert rules.program_of(None) is None


def test_a_place_is_a_program_in_a_network() -> None:
    here = rules.place_of("a", network="203.0.0.0/16")

    assert here == rules.place_of("a", network="203.0.0.0/16")
    assert here != rules.place_of("a", network="198.51.0.0/16")
    assert here != rules.place_of("b", network="203.0.0.0/16")
    assert rules.place_of(None, network="unknown") != here
    assert len(here) == 32


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/120.0 Safari/537.36 Edg/120.0", "Edge on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Firefox/130.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/120.0 Mobile", "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) Safari/604.1", "Safari on iOS"),
        ("Guilder/3 (Android 14)", "Android"),
        ("curl/8.5.0", None),
        ("<b>call +91 98765 43210</b>", None),
        (None, None),
    ],
)
def test_a_device_is_told_in_words_of_ours(user_agent: str | None, device: str | None) -> None:
    assert rules.device_of(user_agent) == device
