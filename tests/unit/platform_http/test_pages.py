"""A cursor goes on where a page ended, in the list it was made for, and nowhere else."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.http.fields import Moment
from guilder.platform.http.pages import (
    BadCursor,
    Page,
    Position,
    decode_cursor,
    encode_cursor,
    page_meta,
)
from guilder.platform.http.route import Answer

FILTERS = {"list": "history", "wallet": UUID(int=7)}


def test_a_cursor_gives_back_its_position() -> None:
    position = (datetime(2026, 11, 20, 10, 30, 5, 123456, tzinfo=UTC), uuid4())

    cursor = encode_cursor(position, filters=FILTERS)

    assert decode_cursor(cursor, tuple[Moment, UUID], filters=FILTERS) == position


@pytest.mark.parametrize(
    "filters", [{}, {"list": "history"}, {**FILTERS, "wallet": UUID(int=8)}, {**FILTERS, "x": None}]
)
def test_a_cursor_of_other_filters_is_refused(filters: dict[str, object]) -> None:
    cursor = encode_cursor(5, filters=FILTERS)

    with pytest.raises(BadCursor):
        decode_cursor(cursor, Position, filters=filters)


def test_the_order_of_filters_does_not_matter() -> None:
    cursor = encode_cursor(5, filters=FILTERS)

    assert decode_cursor(cursor, Position, filters=dict(reversed(FILTERS.items()))) == 5


def _altered(text: str) -> str:
    raw = urlsafe_b64decode(encode_cursor(5, filters=FILTERS) + "==")
    return urlsafe_b64encode(raw[:8] + text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "é",
        "AAAA",
        encode_cursor(5, filters=FILTERS) + "=",
        encode_cursor(5, filters=FILTERS) + " ",
        _altered("-1"),
        _altered("9223372036854775808"),
        _altered("1.5"),
        _altered("NaN"),
        _altered('"5"'),
        _altered(""),
        _altered("[5]"),
    ],
)
def test_a_cursor_that_was_made_up_is_refused(cursor: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(cursor, Position, filters=FILTERS)


@given(st.text(max_size=60))
def test_no_text_is_more_than_a_refusal(cursor: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(cursor, tuple[Moment, UUID], filters=FILTERS)


def test_the_last_page_says_so() -> None:
    assert page_meta(None) == {"next_cursor": None, "has_more": False}
    assert page_meta("abc") == {"next_cursor": "abc", "has_more": True}


def test_a_page_shows_no_more_than_asked_for_and_says_where_it_goes_on() -> None:
    page = Page(limit=2)
    filters = {"list": "numbers"}

    def answered(found: list[int]) -> Answer:
        return page.answer(found, filters=filters, position=lambda n: n, body=lambda n: n * 10)

    first, last = answered([1, 2, 3]), answered([3, 4])

    assert page.asked == 3
    assert (first.data, first.meta["has_more"]) == ([10, 20], True)
    assert (last.data, last.meta) == ([30, 40], {"next_cursor": None, "has_more": False})
    following = Page(limit=2, cursor=first.meta["next_cursor"])
    assert following.position(Position, filters=filters, otherwise=0) == 2
    assert page.position(Position, filters=filters, otherwise=0) == 0
    with pytest.raises(BadCursor):
        following.position(Position, filters={"list": "letters"}, otherwise=0)
