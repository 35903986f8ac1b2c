"""What machine clients may be given, and how they say who they are."""

from __future__ import annotations

from base64 import b64encode
from uuid import UUID

import pytest

from guilder.identity.domain.clients import (
    FOR_PEOPLE,
    Unreadable,
    digest,
    matches,
    read_scopes,
    scope_problem,
    spelled,
)
from guilder.identity.http.client_credentials import read_credentials
from guilder.platform.permissions import CUSTOMER, PERMISSIONS, ROLES

CLIENT = UUID("0190c0de-0000-7000-8000-000000000001")
SECRET = spelled(b"s" * 32)


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


def test_a_secret_matches_its_digest_and_no_other() -> None:
    assert matches(SECRET, digests=[digest(SECRET)])
    assert matches(SECRET, digests=[digest("another"), digest(SECRET)])
    assert not matches(SECRET, digests=[digest(spelled(b"t" * 32))])
    assert not matches(SECRET, digests=[])


def test_what_is_not_spelled_as_a_secret_matches_nothing() -> None:
    assert not matches("short", digests=[digest("short")])


def test_credentials_come_in_the_header_or_in_the_body() -> None:
    in_body = {"client_id": str(CLIENT), "client_secret": SECRET}

    assert read_credentials(None, fields=in_body) == (CLIENT, SECRET)
    assert read_credentials(basic(f"{CLIENT}:{SECRET}"), fields={}) == (CLIENT, SECRET)
    assert read_credentials(basic(f"{CLIENT}:{SECRET}"), fields={"client_id": str(CLIENT)}) == (
        CLIENT,
        SECRET,
    )


def test_the_header_is_form_encoded_before_it_is_joined() -> None:
    assert read_credentials(basic(f"{CLIENT}:a%3Ab+c"), fields={}) == (CLIENT, "a:b c")


def test_a_request_without_credentials_shows_none() -> None:
    assert read_credentials(None, fields={"client_id": str(CLIENT)}) is None


@pytest.mark.parametrize(
    ("authorization", "fields"),
    [
        ("Bearer abc", {}),
        ("Basic !!!", {}),
        ("Basic /w==", {}),
        (basic("no colon"), {}),
        (basic(f"{CLIENT}:{'x' * 201}"), {}),
        (basic(f"{CLIENT.hex}:{SECRET}"), {}),
        (basic(f"{CLIENT}:{SECRET}"), {"client_secret": SECRET}),
        (basic(f"{CLIENT}:{SECRET}"), {"client_id": str(UUID(int=1))}),
        (None, {"client_secret": SECRET}),
    ],
    ids=repr,
)
def test_credentials_that_cannot_be_anybodys_are_refused(
    authorization: str | None, fields: dict[str, str]
) -> None:
    with pytest.raises(Unreadable):
        read_credentials(authorization, fields=fields)


def test_scopes_are_words_between_single_spaces() -> None:
    assert read_scopes("wallets:read payments:read wallets:read") == (
        "wallets:read",
        "payments:read",
    )


@pytest.mark.parametrize("text", ["", " ", "a  b", " a", "a\tb", 'a"b', "a\\b", "ä"], ids=repr)
def test_anything_else_is_no_list_of_scopes(text: str) -> None:
    with pytest.raises(Unreadable):
        read_scopes(text)


def test_power_over_people_and_clients_is_for_people() -> None:
    powers = {
        name
        for name in PERMISSIONS
        if name.partition(":")[0] in {"users", "clients", "verifications"}
    }

    assert (powers - {"users:read"}) | {"roles:write"} == FOR_PEOPLE
    assert PERMISSIONS.keys() >= FOR_PEOPLE


def test_nothing_that_is_for_people_is_given_to_a_client() -> None:
    assert all(scope_problem(["wallets:read", scope]) for scope in FOR_PEOPLE)
    assert scope_problem([])
    assert scope_problem(["wallets:read", "wallets:read"])
    assert scope_problem(["wallets:read", "payments:write"]) is None


def test_a_client_that_acts_for_nobody_has_nothing_of_its_own() -> None:
    ones_own = ROLES[CUSTOMER]

    assert all(scope_problem(["wallets:read_any", scope], ones_own=ones_own) for scope in ones_own)
    assert scope_problem(["wallets:read_any", "tokens:introspect"], ones_own=ones_own) is None
