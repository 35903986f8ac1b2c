"""Keys read from another process: known ones survive its absence, junk is never a key."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from guilder.kernel.errors import Overloaded
from guilder.platform.keys import JWKS_MAX_AGE_S, UNKNOWN_KID_EVERY_S, SigningKey
from guilder.platform.remote_keys import RemoteKeys

NOW = 1_800_000_000
ANNAS = SigningKey.generate(made_at=NOW, signs_from=NOW)
BENS = SigningKey.generate(made_at=NOW, signs_from=NOW)


class Publisher:
    """Another process as seen over HTTP: a test sets what it answers and what time it is."""

    def __init__(self) -> None:
        self.time = float(NOW)
        self.asked = 0
        self.sent = 0
        self.status = 200
        self.answer: Any = {"keys": [ANNAS.public()]}
        self.tag: str | None = None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if self.tag is not None and request.headers.get("if-none-match") == self.tag:
            return httpx2.Response(304)
        self.sent += 1
        headers = {} if self.tag is None else {"ETag": self.tag}
        return httpx2.Response(self.status, json=self.answer, headers=headers)

    def keys(self) -> RemoteKeys:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return RemoteKeys("http://guilder.test/keys", client=client, now=lambda: self.time)


async def test_published_key_is_found_and_asked_for_once() -> None:
    publisher = Publisher()
    keys = publisher.keys()

    found = [await keys.find(ANNAS.kid) for _ in range(3)]

    assert all(key is not None and key.thumbprint() == ANNAS.kid for key in found)
    assert publisher.asked == 1


async def test_unknown_key_is_asked_for_now_and_then() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    for _ in range(100):
        assert await keys.find(BENS.kid) is None
    assert publisher.asked == 1

    publisher.answer["keys"].append(BENS.public())
    publisher.time += UNKNOWN_KID_EVERY_S

    assert await keys.find(BENS.kid) is not None
    assert publisher.asked == 2


async def test_key_that_is_withdrawn_stops_verifying() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    await keys.find(ANNAS.kid)

    publisher.answer = {"keys": [BENS.public()]}
    publisher.time += JWKS_MAX_AGE_S

    assert await keys.find(ANNAS.kid) is None


async def test_known_keys_survive_while_nobody_answers() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    await keys.find(ANNAS.kid)

    publisher.status = 503
    publisher.time += JWKS_MAX_AGE_S

    assert await keys.find(ANNAS.kid) is not None
    assert publisher.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        None,
        {"keys": [{"kid": ANNAS.kid, "alg": "ES256"}]},
        {"keys": [{**ANNAS.public(), "x": "junk"}]},
        {"keys": [{**ANNAS.public(), "x": 7}]},
        {"keys": [{**ANNAS.public(), "alg": "HS256"}]},
        {"keys": ["x" * 100_000]},
    ],
    ids=["bare", "list", "null", "no members", "junk", "number", "algorithm", "long"],
)
async def test_junk_is_no_key_and_verification_waits(answer: object) -> None:
    publisher = Publisher()
    publisher.answer = answer

    with pytest.raises(Overloaded):
        await publisher.keys().find(ANNAS.kid)


async def test_set_that_has_not_changed_is_not_sent_again() -> None:
    publisher = Publisher()
    publisher.tag = '"one"'
    keys = publisher.keys()
    await keys.find(ANNAS.kid)

    publisher.time += JWKS_MAX_AGE_S
    still = await keys.find(ANNAS.kid)
    publisher.tag, publisher.answer = '"two"', {"keys": [BENS.public()]}
    publisher.time += JWKS_MAX_AGE_S
    gone = await keys.find(ANNAS.kid)

    assert still is not None
    assert gone is None
    assert (publisher.asked, publisher.sent) == (3, 2)


async def test_flood_of_unknown_keys_asks_once() -> None:
    publisher = Publisher()
    keys = publisher.keys()
    await keys.find(ANNAS.kid)
    publisher.time += UNKNOWN_KID_EVERY_S

    await asyncio.gather(*(keys.find(f"unknown-{number}") for number in range(200)))

    assert publisher.asked == 2
