"""Figures over HTTP: the product as it is served, with everything on but the rate limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from guilder.apps.bench.figure import Detail, Figure
from guilder.apps.bench.ground import Ground, Report
from guilder.apps.bench.load import Generator, Loaded, Mode, Request
from guilder.apps.bench.serving import Served, served
from guilder.apps.bench.usage import processor_s

CONNECTIONS: Final = 128
_WARM_UP_S: Final = 2.0


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
        rest_ms: float = 0.0,
        connections: int = CONNECTIONS,
    ) -> tuple[Loaded, Detail]:
        """Warm up, let the disk come to rest, and measure.

        Raises:
            CannotMeasure: not every answer was good.
        """
        request = Request(
            mode=mode,
            file=file or self._file,
            seconds=min(_WARM_UP_S, self._seconds),
            connections=connections,
            rest_ms=rest_ms,
        )
        self._generator.run(request, port=on.port)
        await self._ground.settle()
        server_before, own_before = processor_s(self._ground.server.pid), processor_s(on.pid)
        full = Request(
            mode=mode,
            file=request.file,
            seconds=self._seconds,
            connections=connections,
            rest_ms=rest_ms,
        )
        loaded = self._generator.run(full, port=on.port)
        own_s = processor_s(on.pid) - own_before
        server_s = processor_s(self._ground.server.pid) - server_before
        return loaded, {
            "p50 ms": round(loaded.p50_ms, 2),
            "p99 ms": round(loaded.p99_ms, 2),
            "Python µs a request": round(own_s * 1e6 / loaded.requests, 1),
            "PostgreSQL µs a request": round(server_s * 1e6 / loaded.requests, 1),
        }


async def uniform(
    ground: Ground, load: Load, *, workers: Sequence[int], base: float | None, report: Report
) -> tuple[Figure, int]:
    """Transfers a second between any two wallets, with the number of workers that serves best."""
    found: dict[int, tuple[Loaded, Detail]] = {}
    for count in workers:
        report(f"HTTP: transfers, {count} workers")
        with served(ground, workers=count) as server:
            found[count] = await load.put(server, mode=Mode.TRANSFER)
    best = max(found, key=lambda count: found[count][0].rate)
    loaded, detail = found[best]
    others = {f"with {count} workers": round(other.rate) for count, (other, _) in found.items()}
    figure = Figure(
        name="http",
        title="transfers over HTTP",
        unit="/s",
        value=loaded.rate,
        against="pgbench",
        ratio=None if base is None else loaded.rate / base,
        target=1.0,
        detail={"connections": CONNECTIONS, "workers": best, **others, **detail},
    )
    return figure, best


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
