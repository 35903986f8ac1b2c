"""Who the client really is, behind the proxies that we were told to trust, and only those."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Final

FORWARDING: Final = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-real-ip",
    }
)
"""What proxies say about a request. Removed from every request once it has been read."""


class TrustedProxies:
    """The addresses (or networks) whose word about the client counts; none by default."""

    __slots__ = ("_networks",)

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        self._networks = tuple(ip_network(address) for address in addresses)

    def __contains__(self, address: object) -> bool:
        if not self._networks or not isinstance(address, str):
            return False
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def client_of(self, hops: str, *, peer: str) -> str:
        """The rightmost hop that is no trusted proxy; ``peer`` where there is none.

        A hop that is no address ends the walk: what stands left of it was written by nobody we
        trust.
        """
        client = peer
        for hop in reversed(hops.split(",")):
            try:
                client = str(ip_address(hop.strip()))
            except ValueError:
                return client
            if client not in self:
                return client
        return client
