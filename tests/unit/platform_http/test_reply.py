"""How answers look on the wire, and what never gets there."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from guilder.kernel.invariant import InvariantViolation
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.fields import Amount, Moment
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.reply import Reply, Wire, envelope, reply_of, send_reply
from guilder.platform.http.route import Answer, RawAnswer


class Recorder:
    """The far end of a connection."""

    def __init__(self) -> None:
        self.messages: list[MutableMapping[str, Any]] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.messages.append(message)

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": "lifespan.startup"}

    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])


async def _sent(reply: Reply, *, https: bool = False) -> Recorder:
    recorder = Recorder()
    wire = Wire(recorder.send, recorder.receive, None)
    await send_reply(wire, reply, request_id="r-1", https=https, head_only=False)
    return recorder


def test_values_are_written_as_the_api_says() -> None:
    data = {
        "id": UUID(int=7),
        "at": datetime(2026, 11, 20, 10, 30, tzinfo=UTC),
        "until": Moment(2026, 11, 20, 10, 30, tzinfo=UTC),
        "amount": Amount("5000.10"),
        "rate": Decimal("83.12345678"),
        "name": "नेहा",
    }

    assert envelope(data).decode() == (
        '{"success":true,"data":{"id":"00000000-0000-0000-0000-000000000007",'
        '"at":"2026-11-20T10:30:00Z","until":"2026-11-20T10:30:00Z","amount":"5000.10",'
        '"rate":"83.12345678","name":"नेहा"}}'
    )


def test_a_list_adds_its_meta() -> None:
    assert envelope([], meta={"has_more": False}) == (
        b'{"success":true,"data":[],"meta":{"has_more":false}}'
    )


@pytest.mark.parametrize("value", ["/docs\r\nset-cookie: a=b", "/docs\nx: y", "\r"])
async def test_a_header_never_begins_another(value: str) -> None:
    reply = reply_of(Answer(data=None, headers=(("location", value),)), status=200)

    with pytest.raises(InvariantViolation, match="one line"):
        await _sent(reply)


async def test_a_page_may_only_load_what_is_ours() -> None:
    reply = reply_of(RawAnswer(body=b"<p>", content_type="text/html"), status=200)

    headers = (await _sent(reply)).headers()

    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")
    assert headers[b"x-frame-options"] == b"DENY"
    assert headers[b"cache-control"] == b"no-store"


async def test_a_route_may_say_itself_how_long_its_answer_keeps() -> None:
    caching = (("Cache-Control", "max-age=60"),)
    reply = reply_of(RawAnswer(body=b"", content_type="text/css", headers=caching), status=200)

    recorder = await _sent(reply)

    names = [name.lower() for name, _ in recorder.messages[0]["headers"]]
    assert names.count(b"cache-control") == 1


async def test_https_is_remembered_by_browsers() -> None:
    reply = reply_of(Answer(data=None), status=200)

    assert b"strict-transport-security" in (await _sent(reply, https=True)).headers()
    assert b"strict-transport-security" not in (await _sent(reply)).headers()


async def test_a_web_socket_is_turned_away() -> None:
    recorder = Recorder()
    app = HttpApp(_nobody, proxies=TrustedProxies())

    await app({"type": "websocket"}, recorder.receive, recorder.send)

    assert recorder.messages == [{"type": "websocket.close", "code": 1000}]


async def _nobody(_: object) -> Reply:
    raise AssertionError("a web socket is no request")
