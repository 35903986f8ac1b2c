"""Addresses: which ones a server may call for a stranger."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from guilder.platform.addresses import is_public

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001:830::200e",
]
REFUSED = {
    "0.0.0.0": "this host",
    "0.1.2.3": "this network",
    "10.0.0.1": "private",
    "100.64.0.1": "carrier-grade NAT",
    "100.100.100.200": "a cloud's metadata",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's own services",
    "169.254.169.254": "metadata",
    "169.254.0.1": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocol assignments",
    "192.0.0.170": "NAT64 discovery",
    "192.0.2.1": "documentation",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "198.18.0.1": "benchmarks",
    "198.51.100.1": "documentation",
    "203.0.113.1": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "IPv4-compatible loopback",
    "::8.8.8.8": "IPv4-compatible",
    "::ffff:127.0.0.1": "mapped loopback",
    "::ffff:169.254.169.254": "mapped metadata",
    "::ffff:8.8.8.8": "mapped",
    "::ffff:0:127.0.0.1": "translated loopback",
    "64:ff9b::127.0.0.1": "NAT64 loopback",
    "64:ff9b::a9fe:a9fe": "NAT64 metadata",
    "64:ff9b::8.8.8.8": "NAT64",
    "64:ff9b:1::1": "local NAT64",
    "100::1": "discard",
    "2001::1": "Teredo",
    "2001:0:7f00:1::": "Teredo",
    "2001:2::1": "benchmarks",
    "2001:10::1": "ORCHID",
    "2001:20::1": "ORCHID",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4 loopback",
    "2002:a9fe:a9fe::1": "6to4 metadata",
    "2002:808:808::1": "6to4",
    "3fff::1": "documentation",
    "3ffe::1": "6bone",
    "4000::1": "unassigned",
    "5f00::1": "segment routing",
    "fc00::1": "unique local",
    "fd00:ec2::254": "metadata",
    "fd12:3456::1": "unique local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local with its interface",
    "2606:4700::1%eth0": "an interface",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "2606:4700::5efe:127.0.0.1": "ISATAP loopback",
    "2606:4700::200:5efe:10.0.0.1": "ISATAP private",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_ordinary_addresses_may_be_called(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize(("address", "what"), REFUSED.items(), ids=REFUSED.keys())
def test_an_address_that_is_not_ordinary_is_refused(address: str, what: str):
    assert not is_public(ip_address(address)), what


@pytest.mark.parametrize("address", ["64:ff9b::127.0.0.1", "2002:7f00:1::", "::127.0.0.1"])
def test_the_list_knows_forms_that_the_standard_library_calls_global_or_passes_over(address: str):
    found = ip_address(address)

    assert not is_public(found)
    assert not found.is_loopback
