"""The verdict on a code, as one table, and what a token is bound to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.identity.api.verifications import Operation, token_digest
from guilder.identity.domain.verifications import (
    MOST_TRIES,
    Standing,
    Status,
    Verdict,
    judge,
    parameters_digest,
)
from guilder.kernel.ids import UserId
from guilder.platform.identifiers import new_id

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANNA = UserId(new_id())
TOKEN = "ver_right"
ENDS = (Status.USED, Status.CANCELLED, Status.EXHAUSTED, Status.EXPIRED)
PARAMETERS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)


def standing(status: Status, *, tries: int = 0, left_s: float = 1) -> Standing:
    return Standing(
        user_id=ANNA,
        account_id=ANNA,
        operation=Operation.HIGH_VALUE_TRANSFER,
        status=status,
        tries=tries,
        token_digest=None if status is Status.PENDING else token_digest(TOKEN),
        expires_at=NOON + timedelta(seconds=left_s),
    )


def verdict(before: Standing, *, token: str = TOKEN, code_is_right: bool | None = True) -> Verdict:
    return judge(before, token=token, code_is_right=code_is_right, now=NOON)


def test_right_code_verifies_and_costs_no_try() -> None:
    found = verdict(standing(Status.PENDING, tries=4))

    assert found == Verdict(status=Status.VERIFIED, tries=4, is_right=True)


@pytest.mark.parametrize("tries", range(MOST_TRIES - 1))
def test_wrong_code_costs_a_try(tries: int) -> None:
    found = verdict(standing(Status.PENDING, tries=tries), code_is_right=False)

    assert found == Verdict(status=Status.PENDING, tries=tries + 1, is_wrong=True)
    assert found.tries_left == MOST_TRIES - tries - 1


@pytest.mark.parametrize("status", [Status.PENDING, Status.VERIFIED])
def test_fifth_wrong_code_is_the_last(status: Status) -> None:
    found = verdict(standing(status, tries=4), token="ver_wrong", code_is_right=False)

    assert found == Verdict(status=Status.EXHAUSTED, tries=5, is_wrong=True)


def test_right_code_once_more_is_known_by_its_token() -> None:
    again = verdict(standing(Status.VERIFIED), code_is_right=False)
    wrong = verdict(standing(Status.VERIFIED), token="ver_wrong", code_is_right=True)

    assert again.is_right
    assert wrong == Verdict(status=Status.VERIFIED, tries=1, is_wrong=True)


def test_one_whose_code_is_gone_is_over_and_costs_no_try_unless_it_was_right_before() -> None:
    pending = verdict(standing(Status.PENDING, tries=2), code_is_right=None)
    verified = verdict(standing(Status.VERIFIED), code_is_right=None)

    assert pending == Verdict(status=Status.EXPIRED, tries=2)
    assert verified.is_right


@pytest.mark.parametrize("status", [Status.PENDING, Status.VERIFIED])
@pytest.mark.parametrize("left_s", [0, -1])
def test_nothing_is_right_once_it_is_over(status: Status, left_s: float) -> None:
    found = verdict(standing(status, left_s=left_s))

    assert found == Verdict(status=Status.EXPIRED, tries=0)


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("is_right", [True, False])
def test_what_has_ended_stays_as_it_is(status: Status, is_right: bool) -> None:
    found = verdict(standing(status, tries=3), code_is_right=is_right)

    assert found == Verdict(status=status, tries=3)


@given(first=PARAMETERS, second=PARAMETERS)
def test_only_the_same_parameters_have_the_same_digest(
    first: dict[str, str], second: dict[str, str]
) -> None:
    digests = {
        parameters_digest(operation, parameters)
        for operation in Operation
        for parameters in (first, second)
    }

    assert len(digests) == len(Operation) * (1 if first == second else 2)


def test_the_order_of_parameters_does_not_count() -> None:
    ordered, turned = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}

    assert parameters_digest(Operation.BENEFICIARY_ADD, ordered) == parameters_digest(
        Operation.BENEFICIARY_ADD, turned
    )
