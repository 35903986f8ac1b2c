"""Egress: which URLs may be called, and where a name leads at that moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.addresses import Address
from guilder.platform.egress import (
    Egress,
    EgressRules,
    NoSuchHost,
    SystemResolver,
    UrlRefused,
    allowed_receiver,
)

PUBLIC = ip_address("93.184.215.14")
LOOPBACK = ip_address("127.0.0.1")


@dataclass
class Names:
    """A resolver that answers what a test wrote down, one line after the other."""

    answers: list[Sequence[Address]]
    asked: list[str] = field(default_factory=list)

    async def addresses(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        if not self.answers:
            raise NoSuchHost(host)
        return self.answers.pop(0)


def egress(*answers: Sequence[Address], allow: Sequence[str] = (), https_only: bool = True):
    names = Names(list(answers))
    return Egress(EgressRules(https_only=https_only, allow=allow), resolver=names), names


REFUSED_URLS = {
    "http://example.com/": "begin with https",
    "ftp://example.com/": "begin with https",
    "file:///etc/passwd": "begin with https",
    "gopher://example.com/": "begin with https",
    "example.com/hook": "begin with https",
    "https://": "name a host",
    "https:///hook": "name a host",
    "https://anna@example.com/": "user or password",
    "https://anna:secret@example.com/": "user or password",
    "https://example.com@127.0.0.1/": "user or password",
    "https://example.com:22/": "port that is not allowed",
    "https://example.com:0/": "port that is not allowed",
    "https://example.com:99999/": "port that does not exist",
    "https://example.com:http/": "port that does not exist",
    "https://example.com/#top": "fragment",
    "https://example.com/#": "fragment",
    "https://exa mple.com/": "plain ASCII",
    "https://example.com/\r\nHost: evil": "plain ASCII",
    "https://example.com/\t": "plain ASCII",
    "https://example.com\\@127.0.0.1/": "plain ASCII",
    "https://bücher.example/": "plain ASCII",
    "https://example。com/": "plain ASCII",
    "https://[::1": "not a URL",
    "https://[nonsense]/": "not a",
    "https://[fe80::1%25eth0]/": "not a",
    "https://example..com/": "name a host",
    "https://.example.com/": "name a host",
    "https://example.com./": "name a host",
    "https://exam%70le.com/": "name a host",
    f"https://example.com/{'a' * 2048}": "at most 2048",
}


@pytest.mark.parametrize(("url", "reason"), REFUSED_URLS.items(), ids=lambda text: text[:40])
async def test_a_url_that_is_not_plain_https_to_a_name_is_refused(url: str, reason: str):
    gate, names = egress([PUBLIC])

    with pytest.raises(UrlRefused, match="does not call") as refused:
        await gate.find(url)

    assert reason in refused.value.reason
    assert names.asked == []


@given(
    st.text(alphabet=st.sampled_from("htps:/.@[]?#%&=0127.\\xabc ٣é\x00"), max_size=40)
    | st.text(max_size=20).map(lambda text: f"https://{text}/")
)
def test_whatever_is_written_for_a_url_is_taken_apart_or_refused(url: str):
    target = None
    with suppress(UrlRefused):
        target = EgressRules(https_only=True).read(url)

    if target is not None:
        assert target.secure
        assert target.port in {80, 443}
        assert f"{target.host}{target.path}".isascii()
        assert not set(f"{target.authority}{target.path}") & set(" \r\n\t@\\")


async def test_a_url_is_taken_apart_as_it_will_be_asked_for():
    gate, _ = egress([PUBLIC])

    target, addresses = await gate.find("HTTPS://Hooks.Example.com/in/put?token=1&x=")

    assert (target.host, target.port, target.path) == (
        "hooks.example.com",
        443,
        "/in/put?token=1&x=",
    )
    assert target.authority == "hooks.example.com"
    assert addresses == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[fd00:ec2::254]/",
    ],
)
async def test_an_address_in_a_url_is_judged_without_asking_anybody(url: str):
    gate, names = egress()

    with pytest.raises(UrlRefused) as refused:
        await gate.check(url)

    assert "not public" in refused.value.reason
    assert names.asked == []


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001", "localhost"])
async def test_other_spellings_of_loopback_are_judged_by_where_they_lead(host: str):
    gate, names = egress([LOOPBACK])

    with pytest.raises(UrlRefused):
        await gate.check(f"https://{host}/")

    assert names.asked == [host]


async def test_one_private_address_spoils_a_name():
    gate, _ = egress([PUBLIC, LOOPBACK])

    with pytest.raises(UrlRefused):
        await gate.find("https://example.com/")


async def test_a_name_that_changes_its_mind_is_judged_again_at_every_call():
    gate, names = egress([PUBLIC], [LOOPBACK])

    await gate.check("https://rebinding.example/")
    with pytest.raises(UrlRefused):
        await gate.find("https://rebinding.example/")

    assert len(names.asked) == 2


async def test_a_name_without_an_address_passes_the_check_and_no_call():
    gate, _ = egress()

    await gate.check("https://not-yet.example/")
    with pytest.raises(NoSuchHost):
        await gate.find("https://not-yet.example/")


@dataclass
class Hanging:
    """A look-up that hangs for names of these domains until it is let go."""

    domains: Sequence[str]
    let_go: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host.endswith(tuple(self.domains)):
            self.let_go.wait()
        return [str(PUBLIC)]


async def given_up(resolver: SystemResolver, host: str) -> None:
    """Ask, and go away at once."""
    asking = asyncio.create_task(resolver.addresses(host, 443))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("domain", ["slow.example", "slow.co.uk"])
async def test_names_of_one_domain_that_hang_leave_threads_for_other_names(domain: str):
    hanging = Hanging([domain])
    resolver = SystemResolver(look_up=hanging, threads=5)
    for number in range(20):
        await given_up(resolver, f"{number}.{domain}")

    found = await resolver.addresses("good.co.uk", 443)

    assert found == [PUBLIC]
    assert len(hanging.asked) <= 5
    hanging.let_go.set()
    assert await resolver.addresses(f"later.{domain}", 443) == [PUBLIC]


async def test_a_listed_receiver_may_be_called_and_its_neighbours_may_not():
    gate, _ = egress(allow=["127.0.0.1:9000", "[::1]:*"], https_only=False)

    assert (await gate.find("http://127.0.0.1:9000/"))[1] == [LOOPBACK]
    assert (await gate.find("http://[::1]:1234/"))[1] == [ip_address("::1")]
    for url in ("http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "http://93.184.215.14:9000/"):
        with pytest.raises(UrlRefused):
            await gate.find(url)


async def test_of_a_name_with_a_listed_address_only_that_one_is_called():
    gate, _ = egress(
        [ip_address("::1"), LOOPBACK, PUBLIC], allow=["127.0.0.1:9000"], https_only=False
    )

    assert (await gate.find("http://localhost:9000/"))[1] == [LOOPBACK]


@pytest.mark.parametrize("text", ["localhost:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000", ""])
def test_an_allow_list_names_addresses_and_ports(text: str):
    with pytest.raises(ValueError, match=r"write it as|no such port"):
        allowed_receiver(text)
