"""The figure of signing in: what transfers by others pay while fifty people sign in at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from guilder.apps.bench.figure import Figure
from guilder.apps.bench.http import CONNECTIONS, Load
from guilder.apps.bench.load import Mode
from guilder.apps.bench.pgbench import CannotMeasure
from guilder.apps.bench.serving import Served

AT_ONCE: Final = 50
_PASSWORD: Final = "a passphrase of the bench"  # noqa: S105 - people who live as long as a run
_REGISTERED_AT_ONCE: Final = 8
_PATIENCE_S: Final = 120.0


@dataclass(slots=True)
class _Tally:
    good: int = 0
    failed: int = 0


async def beside_logins(load: Load, *, on: Served, full: float) -> Figure:
    """How long a transfer takes at half load, for 99 in 100, while fifty sign in all the time.

    The ratio is to the same load with nobody signing in, measured just before.

    Raises:
        CannotMeasure: people cannot register, or not all of them could sign in.
    """
    people = await _register(on)
    rest_ms = 1000 * CONNECTIONS / (full / 2)
    without, _ = await load.put(on, mode=Mode.TRANSFER, rest_ms=rest_ms)
    with _signing_in(on, people=people) as tally:
        loaded, detail = await load.put(on, mode=Mode.TRANSFER, rest_ms=rest_ms)
    if tally.failed or not tally.good:
        raise CannotMeasure(f"{tally.failed} logins failed and {tally.good} did not")
    return Figure(
        name="logins",
        title=f"the same with {AT_ONCE} logins at once",
        unit="ms",
        value=loaded.p99_ms,
        against="without logins",
        ratio=loaded.p99_ms / without.p99_ms,
        target=1.5,
        is_cost=True,
        detail={
            "logins": tally.good,
            "/s": round(loaded.rate),
            "p50 ms without": round(without.p50_ms, 2),
            "p99 ms without": round(without.p99_ms, 2),
            **detail,
        },
    )


async def _register(on: Served) -> list[dict[str, str]]:
    """Fifty people who can sign in; what each signs in with."""
    gate = asyncio.Semaphore(_REGISTERED_AT_ONCE)
    async with httpx2.AsyncClient(base_url=on.url, timeout=_PATIENCE_S) as http:

        async def register(number: int) -> dict[str, str]:
            person = {"email": f"bench-{number}@example.com", "password": _PASSWORD}
            details = {"full_name": "Anna Rao", "phone": f"+9198765{number:05}"}
            async with gate:
                answer = await http.post("/api/v1/auth/register", json={**person, **details})
            if answer.status_code not in {201, 409}:
                raise CannotMeasure(f"nobody can register: {answer.text[:300]}")
            return person

        return list(await asyncio.gather(*map(register, range(AT_ONCE))))


@contextmanager
def _signing_in(on: Served, *, people: list[dict[str, str]]) -> Iterator[_Tally]:
    """Everybody signs in again and again, in a thread of its own, as long as the block lasts."""
    tally, stop = _Tally(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_sign_in(on, people=people, tally=tally, stop=stop))
    )
    thread.start()
    try:
        yield tally
    finally:
        stop.set()
        thread.join()


async def _sign_in(
    on: Served, *, people: list[dict[str, str]], tally: _Tally, stop: threading.Event
) -> None:
    limits = httpx2.Limits(max_connections=AT_ONCE)
    async with httpx2.AsyncClient(base_url=on.url, timeout=_PATIENCE_S, limits=limits) as http:

        async def keep_on(person: dict[str, Any]) -> None:
            while not stop.is_set():
                answer = await http.post("/api/v1/auth/login", json=person)
                tally.good += answer.status_code == 200
                tally.failed += answer.status_code != 200

        await asyncio.gather(*map(keep_on, people))
