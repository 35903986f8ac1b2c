"""Serves an ASGI application over HTTP: listening sockets, uvicorn, an orderly end."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.server_protocol import LimitedProtocol
from guilder.platform.startup import CannotStart

_BACKLOG: Final = 2048
_KEEP_ALIVE_S: Final = 75
_LONGEST_DRAIN_S: Final = 20


class AddressUnusable(CannotStart):
    """Nobody can listen there; the message says why and what to do."""


def listen(host: str, *, port: int, count: int = 1) -> list[socket.socket]:
    """``count`` sockets that listen on one address, for as many processes.

    They are made before the processes are, so a connection that comes while one of these is
    started again waits instead of being refused.

    Raises:
        AddressUnusable: the port is taken, or the address is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        port = _free_port(family, address)
        made = []
        for _ in range(count):
            opened = socket.socket(family, socket.SOCK_STREAM)
            made.append(opened)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if count > 1:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.bind((address[0], port, *address[2:]))
            opened.listen(_BACKLOG)
    except OSError as error:
        raise AddressUnusable(_reason(error, host=host, port=port)) from error
    return made


def _free_port(family: int, address: tuple[Any, ...]) -> int:
    """The port, once a socket that shares with nobody could have it: several servers are no one."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        chosen: int = probe.getsockname()[1]
        return chosen


def _reason(error: OSError, *, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it, or set GUILDER_PORT"
    if error.errno == errno.EACCES:
        return f"port {port} is for root only; set GUILDER_PORT to 1024 or more"
    return f"cannot listen on {host}, port {port}: {error.strerror}; set GUILDER_HOST"


def address_of(listening: socket.socket) -> str:
    """Where a browser on this machine finds it, as ``http://localhost:8000``."""
    host, port = listening.getsockname()[:2]
    if host in {"127.0.0.1", "::1", "0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve_http(
    app: HttpApp,
    *,
    on: socket.socket,
    until: asyncio.Event,
    ready: Callable[[], None],
    drains: Iterable[Callable[[], None]] = (),
) -> None:
    """Answer requests until ``until`` is set; then finish those that were begun.

    ``ready`` is called once the first request could be answered, and ``drains`` before the last
    ones are waited for.

    Raises:
        RuntimeError: the application did not start; the log says why.
    """
    server = _Server(
        uvicorn.Config(
            app,
            http=LimitedProtocol,
            loop="none",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=True,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_LONGEST_DRAIN_S,
        )
    )
    server.ready = ready
    serving = asyncio.create_task(server.serve(sockets=[on]))
    stopping = asyncio.create_task(until.wait())
    await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    for drain in drains:
        drain()
    server.should_exit = True
    stopping.cancel()
    await serving
    if not server.started:
        raise RuntimeError("the server did not start; see the log")


class _Server(uvicorn.Server):
    """uvicorn without its own signals, which belong to the process, and with a ready call."""

    ready: Callable[[], None]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self.ready()
