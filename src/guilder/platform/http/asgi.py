"""The one place that speaks ASGI: turns scopes into requests and replies into messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from time import perf_counter
from typing import Any

import structlog

from guilder.kernel.errors import Refusal
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.incoming import Incoming
from guilder.platform.http.refusals import ClientGone
from guilder.platform.http.reply import Receive, Reply, Send, send_reply, wire_of
from guilder.platform.http.status import refusal_reply
from guilder.platform.identifiers import new_id_text

_log = structlog.get_logger("guilder.http")

Respond = Callable[[Incoming], Awaitable[Reply]]
Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class HttpApp:
    """An ASGI application that answers with ``respond``.

    ``lifespan`` is entered before the first request and left after the last one.
    """

    def __init__(
        self, respond: Respond, *, proxies: TrustedProxies, lifespan: Lifespan | None = None
    ) -> None:
        self._respond = respond
        self._proxies = proxies
        self._lifespan = lifespan

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        started = perf_counter()
        wire = wire_of(scope, receive, send)
        try:
            incoming = Incoming(scope, receive, proxies=self._proxies)
        except Refusal as refusal:
            request_id = new_id_text()
            reply = refusal_reply(refusal, request_id=request_id)
            await send_reply(wire, reply, request_id=request_id, https=False, head_only=False)
            return
        try:
            reply = await self._respond(incoming)
        except ClientGone:
            return
        if incoming.meter is not None:
            incoming.meter.observe(reply.status, perf_counter() - started)
        await send_reply(
            wire,
            reply,
            request_id=incoming.request_id,
            https=incoming.scheme == "https",
            head_only=incoming.method == "HEAD",
        )

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                if self._lifespan is not None:
                    await stack.enter_async_context(self._lifespan())
            except Exception:
                _log.exception("http.start_failed")
                await send({"type": "lifespan.startup.failed", "message": "see the log"})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
