"""A real Redis for tests, where there is one to start; without it, what needs it is skipped."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway

_PATIENCE_S = 60.0


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis of its own, as long as the block lasts."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"port": port, "bind": "127.0.0.1", "save": "", "dir": str(folder)}
    command = [program, *(part for name, value in options.items() for part in (f"--{name}", value))]
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for(url)
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str) -> None:
    until = time.monotonic() + _PATIENCE_S
    with Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except RedisAway:
                if time.monotonic() > until:
                    raise
            else:
                return
