"""Query strings are read as strictly as bodies."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.kernel.errors import Refusal, ValidationFailed
from guilder.platform.http.fields import Moment
from guilder.platform.http.pages import Page
from guilder.platform.http.query import parse_query, refuse_query


class Search(Page, kw_only=True, frozen=True):
    text: str | None = None
    pending: bool = False
    at: Moment | None = None


def test_numbers_flags_and_text_are_read() -> None:
    search = parse_query(b"limit=7&text=a+b%26%C3%A9&pending=true", Search)

    assert (search.limit, search.text, search.pending) == (7, "a b&é", True)


def test_the_word_null_is_a_word_like_any_other() -> None:
    assert parse_query(b"text=null", Search).text == "null"


def test_nothing_gives_the_defaults() -> None:
    assert parse_query(b"", Search) == Search()


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (b"limit=0", "limit"),
        (b"limit=201", "limit"),
        (b"limit=", "limit"),
        (b"limit=1.0", "limit"),
        (b"limit=1e2", "limit"),
        (b"limit=+1", "limit"),
        (b"limit=%2B1", "limit"),
        (b"limit=%EF%BC%91", "limit"),
        (b"limit=" + b"9" * 400, "limit"),
        (b"colour=red", "colour"),
        (b"pending=maybe", "pending"),
        (b"at=2026-11-20", "at"),
        (b"at=null", "at"),
        (b"&", "query"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(query: bytes, name: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        parse_query(query, Search)

    assert list(refused.value.details["fields"]) == [name]


@pytest.mark.parametrize("query", [b"limit=1&limit=2", b"text=a&text=a", b"text=a&te%78t=b"])
def test_a_doubled_parameter_is_refused(query: bytes) -> None:
    with pytest.raises(ValidationFailed, match="not valid"):
        parse_query(query, Search)


@pytest.mark.parametrize(
    "query",
    [b"text=%", b"text=%zz", b"text=%ff", b"text=%00", b"text=\xff", b"text=" + b"a" * 5000],
)
def test_a_query_that_cannot_be_read_is_refused(query: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        parse_query(query, Search)

    assert refused.value.code == "BAD_REQUEST"


def test_a_query_where_none_is_expected_is_refused() -> None:
    with pytest.raises(ValidationFailed) as refused:
        refuse_query(b"a=1")

    assert refused.value.details["fields"] == {"a": "is not known here"}


@given(st.binary(max_size=100))
def test_no_query_at_all_is_more_than_a_refusal(query: bytes) -> None:
    with suppress(Refusal):
        assert isinstance(parse_query(query, Search), Search)


def test_an_open_query_leaves_aside_what_it_does_not_know() -> None:
    found = parse_query(b"limit=5&session_state=x&prompt=none", Page, is_open=True)

    assert found.limit == 5
