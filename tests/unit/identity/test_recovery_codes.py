"""Recovery codes survive the ways in which people write and read them."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.domain.recovery_codes import digest, read_recovery_code, spelled

ANNA = UUID("01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11")
BEN = UUID("01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a12")
SECRETS = st.binary(min_size=10, max_size=10)


@given(SECRETS)
def test_a_code_is_read_as_it_was_spelled(secret: bytes) -> None:
    text = spelled(secret)

    read = read_recovery_code(text)

    assert read is not None
    assert read == text.replace("-", "")
    assert spelled(secret) == text


@given(SECRETS, SECRETS)
def test_different_secrets_are_spelled_differently(one: bytes, other: bytes) -> None:
    assert (spelled(one) == spelled(other)) is (one == other)


@pytest.mark.parametrize(
    "written",
    ["ABCD-EFGH-IJKL-MNOP", "abcd efgh ijkl mnop", "abcdefghijklmnop", " abcd-efgh-1jk1-mn0p "],
)
def test_spaces_case_and_misread_letters_do_not_matter(written: str) -> None:
    expected = written.lower().translate({45: None, 32: None, 48: "o", 49: "l"})

    assert read_recovery_code(written) == expected
    assert len(expected) == 16


@pytest.mark.parametrize(
    "text",
    ["", "123456", "abcd-efgh-ijkl-mno", "abcd-efgh-ijkl-mnop2", "abcd-efgh-ijkl-mn9p", "a" * 41],
)
def test_anything_else_is_no_recovery_code(text: str) -> None:
    assert read_recovery_code(text) is None


def test_the_same_code_is_kept_differently_for_each_user() -> None:
    assert digest("abcdefghijklmnop", user_id=ANNA) != digest("abcdefghijklmnop", user_id=BEN)
