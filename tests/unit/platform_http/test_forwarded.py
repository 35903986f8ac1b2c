"""What a request says about where it came from counts only from a proxy we trust."""

from __future__ import annotations

from typing import Any

import pytest

from guilder.kernel.errors import BadRequest
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.incoming import Incoming


def _incoming(
    *headers: tuple[str, str], peer: str = "10.0.0.9", proxies: tuple[str, ...] = ()
) -> Incoming:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "scheme": "http",
        "client": (peer, 4711),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    return Incoming(scope, receive, proxies=TrustedProxies(proxies))


FORWARDED = (
    ("host", "gateway"),
    ("x-forwarded-for", "203.0.113.7, 198.51.100.2"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "bank.example"),
    ("x-real-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7"),
)


def test_a_stranger_cannot_say_where_it_comes_from() -> None:
    incoming = _incoming(*FORWARDED)

    assert (incoming.client_address, incoming.scheme, incoming.host) == (
        "10.0.0.9",
        "http",
        b"gateway",
    )
    assert set(incoming.headers) == {"host"}


def test_loopback_is_a_stranger_like_any_other() -> None:
    assert _incoming(*FORWARDED, peer="127.0.0.1").client_address == "127.0.0.1"


def test_a_trusted_proxy_says_where_the_request_comes_from() -> None:
    incoming = _incoming(*FORWARDED, proxies=("10.0.0.9",))

    assert (incoming.client_address, incoming.scheme, incoming.host) == (
        "198.51.100.2",
        "https",
        b"bank.example",
    )
    assert set(incoming.headers) == {"host"}


@pytest.mark.parametrize(
    ("hops", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.8", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.0.0.8", "203.0.113.7"),
        ("10.0.0.8", "10.0.0.8"),
        ("203.0.113.7, nonsense, 10.0.0.8", "10.0.0.8"),
        ("nonsense", "10.0.0.9"),
        ("", "10.0.0.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("203.0.113.7:80", "10.0.0.9"),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_not_trusted(hops: str, client: str) -> None:
    incoming = _incoming(("x-forwarded-for", hops), proxies=("10.0.0.8/31",))

    assert incoming.client_address == client


def test_an_unknown_scheme_is_not_believed() -> None:
    incoming = _incoming(("x-forwarded-proto", "javascript"), proxies=("10.0.0.9",))

    assert incoming.scheme == "http"


def test_the_request_id_of_the_client_is_kept_when_it_is_well_formed() -> None:
    assert _incoming(("x-request-id", "Job-7_a.b")).request_id == "Job-7_a.b"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 129, "é", "a;b"])
def test_any_other_request_id_is_replaced(given: str) -> None:
    assert len(_incoming(("x-request-id", given)).request_id) == 36


@pytest.mark.parametrize(
    "name", ["host", "content-length", "authorization", "idempotency-key", "x-request-id"]
)
def test_a_header_with_one_value_by_definition_is_refused_twice(name: str) -> None:
    with pytest.raises(BadRequest):
        _incoming((name, "1"), (name, "1"))


def test_other_doubled_headers_are_one_list() -> None:
    incoming = _incoming(("accept", "a"), ("accept", "b"), ("cookie", "c=1"), ("cookie", "d=2"))

    assert dict(incoming.headers) == {"accept": "a, b", "cookie": "c=1; d=2"}
