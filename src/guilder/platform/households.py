"""Which addresses count as one: those that one line has, since whoever has one has them all."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

UNKNOWN: Final = "unknown"
_V6_BITS: Final = 64


@lru_cache(maxsize=1024)  # it is asked for on every request
def household_of(address: str) -> str:
    """The address, or the part of an IPv6 one that a single household has."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ip_network(f"{found}/{_V6_BITS}", strict=False))
    return str(found)
