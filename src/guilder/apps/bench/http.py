"""Figures over HTTP: the product as it is served, with everything on but the rate limit."""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from guilder.apps.bench.figure import Detail, Figure
from guilder.apps.bench.ground import Ground, Report
from guilder.apps.bench.load import IN_BULK, Generator, Loaded, Mode, Request
from guilder.apps.bench.serving import Served, caught_up, served
from guilder.apps.bench.usage import processor_s

CONNECTIONS: Final = 128
_BULK_CONNECTIONS: Final = 4
_WARM_UP_S: Final = 2.0
_PARTIES: Final = ("Guilder", "PostgreSQL", "load generator")
"""Whose processor time is told, per request."""


class Load:
    """Measures one served Guilder: rates, and what a request costs each side."""

    def __init__(self, ground: Ground, *, generator: Generator, file: Path, seconds: float) -> None:
        self._ground = ground
        self._generator = generator
        self._file = file
        self._seconds = seconds

    async def put(
        self,
        on: Served,
        *,
        mode: Mode,
        file: Path | None = None,
        connections: int = CONNECTIONS,
        rest_ms: float = 0.0,
        waits: bool = True,
        settles: bool = True,
    ) -> tuple[Loaded, Detail]:
        """Warm up, let background work and the disk come to rest, and measure.

        ``waits`` for background work, where there is any; ``settles`` the disk by a checkpoint.

        Raises:
            CannotMeasure: not every answer was good.
        """
        request = Request(
            mode=mode,
            file=str(file or self._file),
            seconds=self._seconds,
            connections=connections,
            rest_ms=rest_ms,
        )
        warm_up = structs.replace(request, seconds=min(_WARM_UP_S, self._seconds))
        self._generator.run(warm_up, port=on.port)
        if waits:
            await caught_up(self._ground)
        if settles:
            await self._ground.settle()
        before = self._used(on)
        loaded = self._generator.run(request, port=on.port)
        spent = zip(_PARTIES, before, self._used(on), strict=True)
        cost = {
            f"{party} µs": round((after_s - before_s) * 1e6 / loaded.requests, 1)
            for party, before_s, after_s in spent
        }
        times = {"p50 ms": round(loaded.p50_ms, 2), "p99 ms": round(loaded.p99_ms, 2)}
        return loaded, {"connections": connections, **times, **cost}

    def _used(self, on: Served) -> tuple[float, float, float]:
        """Seconds of processor time that each party has used."""
        waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (
            processor_s(on.pid),
            processor_s(self._ground.server.pid),
            waited_for.ru_utime + waited_for.ru_stime,
        )


async def uniform(
    ground: Ground, load: Load, *, workers: Sequence[int], base: float | None, report: Report
) -> tuple[Figure, int]:
    """Transfers a second between any two wallets, with the number of workers that serves best."""

    async def measured(server: Served) -> tuple[Loaded, Detail]:
        report("HTTP: transfers")
        return await load.put(server, mode=Mode.TRANSFER)

    loaded, detail = await best_of(ground, workers=workers, measured=measured)
    figure = Figure(
        name="http",
        title="transfers over HTTP",
        unit="/s",
        value=loaded.rate,
        against="pgbench",
        ratio=None if base is None else loaded.rate / base,
        target=1.0,
        detail=detail,
    )
    return figure, int(detail["workers"])


async def best_of(
    ground: Ground,
    *,
    workers: Sequence[int],
    measured: Callable[[Served], Awaitable[tuple[Loaded, Detail]]],
) -> tuple[Loaded, Detail]:
    """What was ``measured`` with the number of workers that serves best, and what with others."""
    found: dict[int, tuple[Loaded, Detail]] = {}
    for count in workers:
        with served(ground, workers=count) as server:
            found[count] = await measured(server)
    best = max(found, key=lambda count: found[count][0].rate)
    loaded, detail = found[best]
    others = {f"with {count}": round(other.rate) for count, (other, _) in found.items()}
    return loaded, {"workers": best, **others, **detail}


async def alone(ground: Ground, load: Load, *, workers: int, base: float | None) -> Figure:
    """Transfers a second while no background work runs: the difference is what that takes."""
    with served(ground, workers=workers, command="serve") as server:
        loaded, detail = await load.put(server, mode=Mode.TRANSFER, waits=False)
    return Figure(
        name="alone",
        title="transfers over HTTP while nobody hears of them",
        unit="/s",
        value=loaded.rate,
        against="pgbench",
        ratio=None if base is None else loaded.rate / base,
        detail=detail,
    )


async def half_load(load: Load, *, on: Served, full: float) -> Figure:
    """How long a transfer takes at half of the rate that is possible, for 99 in 100."""
    rest_ms = 1000 * CONNECTIONS / (full / 2)
    loaded, detail = await load.put(on, mode=Mode.TRANSFER, rest_ms=rest_ms)
    return Figure(
        name="latency",
        title="99 of 100 transfers at half load take at most",
        unit="ms",
        value=loaded.p99_ms,
        target=50.0,
        is_cost=True,
        detail={"/s": round(loaded.rate), "of": round(full), **detail},
    )


async def hot(load: Load, *, on: Served, uniform: float) -> Figure:
    """Transfers a second when all of them credit one wallet."""
    loaded, detail = await load.put(on, mode=Mode.HOT)
    return Figure(
        name="hot",
        title="transfers over HTTP into one hot wallet",
        unit="/s",
        value=loaded.rate,
        against="transfers over HTTP",
        ratio=loaded.rate / uniform,
        target=0.9,
        detail=detail,
    )


async def bulk(load: Load, *, on: Served, base: float | None) -> Figure:
    """Transactions of the ledger a second when a request brings a thousand."""
    loaded, detail = await load.put(on, mode=Mode.BULK, connections=_BULK_CONNECTIONS)
    rate = loaded.rate * IN_BULK
    return Figure(
        name="bulk",
        title="ledger transactions over HTTP, 1,000 a request",
        unit="/s",
        value=rate,
        against="pgbench",
        ratio=None if base is None else rate / base,
        target=2.5,
        detail=detail,
    )
