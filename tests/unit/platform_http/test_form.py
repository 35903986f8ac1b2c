"""Forms as OAuth sends them: read strictly, or refused as a whole."""

from __future__ import annotations

import pytest

from guilder.kernel.errors import BadRequest
from guilder.platform.http.form import FORM_TYPE, read_form


@pytest.mark.parametrize(
    "content_type", [FORM_TYPE, f"{FORM_TYPE}; charset=utf-8", FORM_TYPE.upper()]
)
def test_a_form_is_read_by_name(content_type: str) -> None:
    found = read_form(b"grant_type=client_credentials&scope=a%3Ab+c", content_type=content_type)

    assert found == {"grant_type": "client_credentials", "scope": "a:b c"}


def test_a_field_without_a_value_was_not_sent() -> None:
    assert read_form(b"scope=&a=1&b", content_type=FORM_TYPE) == {"a": "1"}
    assert read_form(b"", content_type=FORM_TYPE) == {}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1", "application/json"),
        (b"a=1", ""),
        (b"a=1", f"{FORM_TYPE}; charset=latin-1"),
        (b"a=1&a=2", FORM_TYPE),
        (b"a=%zz", FORM_TYPE),
        (b"a=%ff", FORM_TYPE),
        (b"a=%00", FORM_TYPE),
        (b"a=" + b"x" * 5000, FORM_TYPE),
    ],
    ids=repr,
)
def test_what_is_no_form_is_refused_as_a_whole(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequest):
        read_form(body, content_type=content_type)
