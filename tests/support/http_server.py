"""A real HTTP server in this event loop, on a free port, and raw connections to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import uvicorn

from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.server_protocol import LimitedProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=30)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, sent: bytes) -> bytes:
        """Everything that the server answers to ``sent`` until it closes the connection."""
        reader, writer = await self.connect()
        writer.write(sent)
        answered = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answered


@asynccontextmanager
async def serving(
    app: HttpApp, *, protocol: type[LimitedProtocol] = LimitedProtocol
) -> AsyncIterator[Address]:
    """Serve ``app`` until the block ends."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol,
        lifespan="on",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listening])
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield Address(port=listening.getsockname()[1])
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown(sockets=[listening])
        listening.close()
