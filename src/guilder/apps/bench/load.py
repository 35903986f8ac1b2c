"""Puts load on an address, with ``wrk`` where it is installed and with our own client elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol
from uuid import uuid4

import msgspec

from guilder.apps.bench.pgbench import CannotMeasure

_SCRIPT: Final = Path(__file__).with_name("requests.lua")
_CLIENT: Final = "guilder.apps.bench.client"
_PATIENCE_S: Final = 60


IN_BULK: Final = 1000
"""Postings in a request of `Mode.BULK`; the script for wrk says the same."""


class Mode(StrEnum):
    """What is sent. Except for GET the file is `Town.write`'s."""

    TRANSFER = "transfer"
    """Transfers of the smallest sum between any two wallets."""
    HOT = "hot"
    """The same, all into the first wallet."""
    BULK = "bulk"
    """As transfers, but a thousand postings of the ledger in each request."""
    GET = "get"
    """Whatever the file lists: a token and a path a line."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A load to be put on. ``rest_ms`` is how long each connection rests before each request."""

    mode: Mode
    file: str
    seconds: float
    connections: int = 64
    rest_ms: float = 0.0


class Loaded(msgspec.Struct, kw_only=True):
    """What came of it. ``failed`` counts refusals, ``broken`` lost connections and time-outs."""

    requests: int
    seconds: float
    failed: int
    broken: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return (self.requests - self.failed) / self.seconds


class Generator(Protocol):
    """A program that puts load on an address."""

    @property
    def name(self) -> str:
        """What it is called in a report."""
        ...

    def run(self, request: Request, *, port: int) -> Loaded:
        """Put the load on 127.0.0.1 and answer what came of it.

        Raises:
            CannotMeasure: it failed, or answers were not good.
        """
        ...


class Wrk:
    """``wrk`` with a script of ours: one thread, which costs the servers little."""

    name = "wrk"

    def __init__(self, program: str) -> None:
        self._program = program

    def run(self, request: Request, *, port: int) -> Loaded:
        """Put the load on 127.0.0.1 and answer what came of it.

        Raises:
            CannotMeasure: it failed, or answers were not good.
        """
        said = _said(
            [
                self._program,
                "--threads=1",
                f"--connections={request.connections}",
                f"--duration={max(1, round(request.seconds))}s",
                "--timeout=10s",
                f"--script={_SCRIPT}",
                f"http://127.0.0.1:{port}",
                "--",
                request.mode.value,
                request.file,
                uuid4().hex,
                str(request.rest_ms),
            ],
            seconds=request.seconds,
        )
        return _good(said.splitlines()[-1])


class OwnClient:
    """Our own client in a process of its own: always there, slower, and it takes a core."""

    name = "own client"

    def run(self, request: Request, *, port: int) -> Loaded:
        """Put the load on 127.0.0.1 and answer what came of it.

        Raises:
            CannotMeasure: it failed, or answers were not good.
        """
        words = msgspec.json.encode(request).decode()
        said = _said([sys.executable, "-m", _CLIENT, str(port), words], seconds=request.seconds)
        return _good(said)


def best_generator(*, own: bool = False) -> Generator:
    """``wrk`` if it is installed and ``own`` is not asked for."""
    program = None if own else shutil.which("wrk")
    return OwnClient() if program is None else Wrk(program)


def _said(command: Sequence[str], *, seconds: float) -> str:
    ended = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + _PATIENCE_S,
    )
    if ended.returncode != 0 or not ended.stdout.strip():
        raise CannotMeasure(f"{command[0]} failed: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


def _good(line: str) -> Loaded:
    loaded = msgspec.json.decode(line, type=Loaded)
    if loaded.failed or loaded.broken or not loaded.requests:
        raise CannotMeasure(
            f"of {loaded.requests} requests {loaded.failed} were refused and "
            f"{loaded.broken} got no answer"
        )
    return loaded
