"""What an ID token must say, and whom an email may link."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from guilder.identity.api import AccountType, AccountView
from guilder.identity.api.outside import OutsidePerson
from guilder.identity.domain import outside
from guilder.identity.domain.outside import IdClaims, Verdict
from guilder.kernel.ids import UserId
from guilder.platform.identifiers import new_id

NOW = 1_800_000_000
GOOD = IdClaims(iss="https://id", sub="1", aud="us", exp=NOW + 300, iat=NOW, nonce="n")


def problem(**changes: Any) -> str | None:
    claims = msgspec.structs.replace(GOOD, **changes)
    return outside.id_token_problem(claims, issuer="https://id", client_id="us", nonce="n", now=NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aud": ["us"]},
        {"aud": ["us", "them"], "azp": "us"},
        {"azp": "us"},
        {"exp": NOW - 59},
        {"iat": NOW + 60},
        {"sub": "x" * 255},
    ],
    ids=str,
)
def test_an_id_token_for_us_has_no_problem(changes: dict[str, Any]) -> None:
    assert problem(**changes) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://id/"}, "issuer"),
        ({"iss": "http://id"}, "issuer"),
        ({"aud": "them"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": ["us", "them"]}, "party"),
        ({"azp": "them"}, "party"),
        ({"exp": NOW - 60}, "expired"),
        ({"iat": NOW + 61}, "time"),
        ({"iat": NOW - 24 * 3600 - 1}, "time"),
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"sub": ""}, "subject"),
        ({"sub": "x" * 256}, "subject"),
    ],
    ids=str,
)
def test_any_other_has_one(changes: dict[str, Any], expected: str) -> None:
    assert problem(**changes) == expected


def test_what_is_asked_follows_from_state_and_secret_alone() -> None:
    def asked(state: str, secret: str) -> tuple[str, str]:
        ask = outside.asked(state=state, browser_secret=secret, redirect_uri="https://us")
        return ask.nonce, ask.verifier

    assert asked("s", "b") == asked("s", "b")
    found = {value for pair in ("sb", "tb", "sc") for value in asked(*pair)}
    assert len(found) == 6
    assert all(outside.is_spelled(value) for value in found)


def test_the_challenge_is_the_example_of_the_standard() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    assert outside.challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("text", [None, "", "x" * 42, "x" * 44, "ä" * 43, "x" * 42 + "="])
def test_what_is_no_secret_of_ours_is_known_by_its_form(text: str | None) -> None:
    assert not outside.is_spelled(text)


def test_a_digest_hides_what_it_is_of() -> None:
    assert outside.digest("secret") == sha256(b"secret").digest()


def test_the_same_subject_of_two_issuers_is_two_people() -> None:
    one = OutsidePerson(issuer="https://id", subject="1")

    assert outside.subject_text(one) != outside.subject_text(replace(one, issuer="https://other"))


def anna(type_: AccountType = AccountType.CUSTOMER, *roles: str) -> AccountView:
    user_id = UserId(new_id())
    return AccountView(
        id=user_id,
        user_id=user_id,
        account_type=type_,
        email="anna@example.com",
        phone=None,
        full_name="Anna Rao",
        status="active",
        kyc_status="pending",
        roles=roles or ("customer",),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("candidate", "is_verified", "expected"),
    [
        (anna(), True, Verdict.LINK_BY_EMAIL),
        (anna(), False, Verdict.REFUSE),
        (None, False, Verdict.REFUSE),
        (anna(AccountType.CUSTOMER, "customer", "admin"), True, Verdict.REFUSE),
        (anna(AccountType.STAFF, "support"), True, Verdict.REFUSE),
        (anna(AccountType.USER_ADMIN, "customer"), True, Verdict.REFUSE),
    ],
)
def test_an_email_links_a_customer_who_has_verified_it_and_nobody_else(
    candidate: AccountView | None, is_verified: bool, expected: Verdict
) -> None:
    usual: Collection[str] = {"customer"}

    verdict = outside.judge(candidate, email_is_verified=is_verified, usual_roles=usual)

    assert verdict is expected


@pytest.mark.parametrize(
    ("roles", "by_email", "expected"),
    [
        (("customer",), True, True),
        (("customer", "support"), True, False),
        (("customer", "support"), False, True),
    ],
)
def test_a_link_by_email_signs_nobody_in_who_may_more_than_customers(
    roles: tuple[str, ...], by_email: bool, expected: bool
) -> None:
    account = anna(AccountType.CUSTOMER, *roles)

    assert outside.holds(account, by_email=by_email, usual={"customer"}) is expected
