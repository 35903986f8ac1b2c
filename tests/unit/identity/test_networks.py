"""Addresses of one provider count as one place, whatever family and form they have."""

from __future__ import annotations

import pytest

from guilder.identity.domain.networks import UNKNOWN, network_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.7", "203.0.200.9"),
        ("203.0.113.7", "::ffff:203.0.113.8"),
        ("2001:db8:1::1", "2001:db8:ffff::2"),
        ("fe80::1%eth0", "fe80::2%eth1"),
        ("", "nowhere"),
    ],
)
def test_one_network_is_one_place(one: str, other: str) -> None:
    assert network_of(one) == network_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("203.0.113.7", "203.1.113.7"),
        ("203.0.113.7", "2001:db8::1"),
        ("2001:db8::1", "2001:db9::1"),
        ("203.0.113.7", "nowhere"),
    ],
)
def test_another_network_is_another_place(one: str, other: str) -> None:
    assert network_of(one) != network_of(other)


def test_what_is_no_address_is_unknown() -> None:
    assert network_of("testclient") == UNKNOWN
