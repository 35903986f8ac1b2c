"""A stream of events says no more once the token is not good that it was asked for with."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.http.route import Access, Request, Route, StreamAnswer
from tests.support.shop import ANNA, Tokens


class Ticker:
    """Says three things, and revokes Anna's token after the first."""

    def __init__(self, tokens: Tokens, *, content_type: str) -> None:
        self.tokens = tokens
        self.content_type = content_type
        self.is_closed = False

    async def listen(self, request: Request) -> StreamAnswer:
        return StreamAnswer(chunks=self._chunks(), content_type=self.content_type)

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            yield b"first "
            self.tokens.callers.clear()
            yield b"second "
            yield b"third"
        finally:
            self.is_closed = True


async def heard(ticker: Ticker, *, access: Access, headers: dict[str, str]) -> str:
    route = Route(
        method="GET",
        path="/ticks",
        handler=ticker.listen,
        access=access,
        summary="Listen",
        tag="Clock",
    )
    dispatcher = Dispatcher(
        {"clock": (route,)},
        verifier=ticker.tokens,
        metrics=RequestMetrics(CollectorRegistry()),
    )
    app = HttpApp(dispatcher.respond, proxies=TrustedProxies())
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://guilder.test/api/v1"
    ) as http:
        answer = await http.get("/ticks", headers=headers)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("access", "headers", "content_type", "text"),
    [
        (Access.ANY_CALLER, {"Authorization": f"Bearer {ANNA}"}, "text/event-stream", "first "),
        (Access.ANY_CALLER, {"Authorization": f"Bearer {ANNA}"}, "text/csv", "first second third"),
        (Access.PUBLIC, {}, "text/event-stream", "first second third"),
    ],
)
async def test_events_end_with_the_token_and_documents_are_whole(
    access: Access, headers: dict[str, str], content_type: str, text: str
) -> None:
    ticker = Ticker(Tokens(), content_type=content_type)

    assert await heard(ticker, access=access, headers=headers) == text
    assert ticker.is_closed
