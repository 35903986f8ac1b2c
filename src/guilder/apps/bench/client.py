"""Our own load generator, run by name in a process of its own; it prints one line of JSON.

Raw HTTP/1.1 over kept-alive connections: each sends a request, waits for its answer, and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final, TypeAlias, cast
from uuid import uuid4

import msgspec
import uvloop

from guilder.apps.bench.load import IN_BULK, Loaded, Mode, Request

Purse: TypeAlias = tuple[str, str]
"""A token and the id of a wallet that it may take money out of."""
Pair: TypeAlias = Callable[[], tuple[Purse, Purse]]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_GOOD: Final = (b"HTTP/1.1 200", b"HTTP/1.1 201")
_FIRST_ANSWER_S: Final = 30.0
_REFUSED: Final = re.compile(rb'"refused":[1-9]')
_HOST: Final = "HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer"


class Tally:
    """What all connections have seen."""

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.first = asyncio.Event()
        self.failed = 0
        self.broken = 0

    def loaded(self, *, seconds: float) -> Loaded:
        """The tally as a result."""
        ordered = sorted(self.times_s) or [0.0]
        p50, p99 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99))
        return Loaded(
            requests=len(self.times_s),
            seconds=seconds,
            failed=self.failed,
            broken=self.broken,
            p50_ms=p50 * 1e3,
            p99_ms=p99 * 1e3,
            max_ms=ordered[-1] * 1e3,
        )


class Connection(asyncio.Protocol):
    """One kept-alive connection that sends one request after the other until it is told to stop."""

    def __init__(self, *, make: Callable[[], bytes], tally: Tally, rest_s: float) -> None:
        self._make = make
        self._tally = tally
        self._rest_s = rest_s
        self._received = b""
        self._sent_at = 0.0
        self._stops = False
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(self._received, 0, head_end)
        if len(self._received) < head_end + 4 + (int(length[1]) if length else 0):
            return
        self._tally.first.set()
        self._tally.times_s.append(time.perf_counter() - self._sent_at)
        is_good = self._received.startswith(_GOOD) and not _REFUSED.search(self._received)
        self._tally.failed += not is_good
        self._received = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._tally.broken += not self._stops
        self.ended.set_result(None)

    def stop(self) -> None:
        """Send nothing more, and hang up."""
        self._stops = True
        self._transport.close()

    def _next(self) -> None:
        if not self._rest_s:
            self._send()
            return
        rest_s = random.expovariate(1 / self._rest_s)
        asyncio.get_running_loop().call_later(rest_s, self._send)

    def _send(self) -> None:
        if self._stops:
            return
        self._sent_at = time.perf_counter()
        self._transport.write(self._make())


async def put_load(request: Request, *, port: int) -> Loaded:
    """Keep every connection busy for the time asked for, and at least until the first answer."""
    loop = asyncio.get_running_loop()
    tally, make = Tally(), maker(request)
    new = partial(Connection, make=make, tally=tally, rest_s=request.rest_ms / 1e3)
    began = time.perf_counter()
    opened = [
        (await loop.create_connection(new, "127.0.0.1", port))[1]
        for _ in range(request.connections)
    ]
    await asyncio.sleep(request.seconds)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(tally.first.wait(), _FIRST_ANSWER_S)
    loaded = tally.loaded(seconds=time.perf_counter() - began)
    for connection in opened:
        connection.stop()
    await asyncio.gather(*(connection.ended for connection in opened))
    return loaded


def maker(request: Request) -> Callable[[], bytes]:
    """What makes the next request, as the bytes that are sent."""
    lines = [line.split("\t") for line in Path(request.file).read_text().splitlines()]
    if request.mode is Mode.GET:
        gets = [f"GET {path} {_HOST} {token}\r\n\r\n".encode() for token, path in lines]
        return lambda: random.choice(gets)  # noqa: S311 - spread, no secret
    operator = next(words[0] for words in lines if len(words) == 1)
    purses = [(token, wallet) for token, *wallets in lines for wallet in wallets]
    hot = purses[0] if request.mode is Mode.HOT else None
    keys = (f"{uuid4().hex}-{number}" for number in count())
    post = partial(_bulk, operator) if request.mode is Mode.BULK else _transfer
    return lambda: post(lambda: _pair(purses, hot=hot), key=next(keys))


def _transfer(pair: Pair, *, key: str) -> bytes:
    (token, source), (_, target) = pair()
    body = (
        f'{{"from_wallet_id":"{source}","to_wallet_id":"{target}",'
        '"amount":"0.01","currency":"INR"}'
    )
    return _post("transactions/transfer", token=token, key=key, body=body)


def _bulk(operator: str, pair: Pair, *, key: str) -> bytes:
    items = []
    for _ in range(IN_BULK):
        (_, source), (_, target) = pair()
        items.append(
            f'{{"entries":[{{"account_id":"{source}","direction":"debit","amount":"0.01"}},'
            f'{{"account_id":"{target}","direction":"credit","amount":"0.01"}}]}}'
        )
    body = f'{{"transactions":[{",".join(items)}]}}'
    return _post("ledger/transactions/bulk", token=operator, key=key, body=body)


def _post(path: str, *, token: str, key: str, body: str) -> bytes:
    return (
        f"POST /api/v1/{path} {_HOST} {token}\r\nIdempotency-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _pair(purses: Sequence[Purse], *, hot: Purse | None) -> tuple[Purse, Purse]:
    while (source := random.choice(purses)) is (target := hot or random.choice(purses)):  # noqa: S311 - spread, no secret
        continue
    return source, target


def main() -> None:
    """Put on the load that the arguments describe, and print what came of it."""
    port, words = sys.argv[1:]
    request = msgspec.json.decode(words, type=Request)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loaded = runner.run(put_load(request, port=int(port)))
    print(msgspec.json.encode(loaded).decode())


if __name__ == "__main__":
    main()
