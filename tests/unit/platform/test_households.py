"""Which addresses are one household."""

from __future__ import annotations

import pytest

from guilder.platform.households import household_of


@pytest.mark.parametrize(
    ("address", "household"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("somewhere", "unknown"),
    ],
)
def test_an_address_counts_for_its_household(address: str, household: str) -> None:
    assert household_of(address) == household
