"""The part of an address that stays while somebody signs in, though the address itself may not."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

UNKNOWN: Final = "unknown"
_V4_BITS: Final = 16
_V6_BITS: Final = 32


def network_of(address: str) -> str:
    """The provider's network, roughly: a phone changes its address, seldom its operator."""
    # a link-local address names its interface, which is nobody's network
    address = address.partition("%")[0]
    try:
        found = ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = _V4_BITS if found.version == 4 else _V6_BITS
    return str(ip_network(f"{found}/{bits}", strict=False))
