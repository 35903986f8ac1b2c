"""One run: the ground, the town, and each figure that is asked for, in an order that is fair."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from guilder.apps.bench import engine, http
from guilder.apps.bench.figure import Figure, Skipped
from guilder.apps.bench.ground import Ground, Report
from guilder.apps.bench.load import Generator
from guilder.apps.bench.pgbench import CannotMeasure, tpc_b
from guilder.apps.bench.serving import served
from guilder.apps.bench.town import Town, fund, settle_town
from guilder.ledger.module import build_ledger

FIGURES: Final = ("pgbench", "engine", "http", "latency", "hot")
_OVER_HTTP: Final = frozenset({"http", "latency", "hot"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how thoroughly."""

    only: Collection[str] = FIGURES
    seconds: int = 10
    scale: int = 50
    people: int = 1000
    wallets_each: int = 10
    workers: tuple[int, ...] = (1, 2)


@dataclass(slots=True)
class Run:
    """What has been measured so far."""

    ground: Ground
    plan: Plan
    generator: Generator
    report: Report
    figures: list[Figure] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def base(self) -> float | None:
        """pgbench's figure in this run."""
        return self._value("pgbench")

    def wants(self, *names: str) -> bool:
        """Whether one of these figures is asked for."""
        return any(name in self.plan.only for name in names)

    async def measure(self) -> None:
        """Measure everything that is asked for."""
        plan, report = self.plan, self.report
        if self.wants("pgbench"):
            self.figures.append(
                await tpc_b(self.ground, seconds=plan.seconds, scale=plan.scale, report=report)
            )
        if not self.wants("engine", *_OVER_HTTP):
            return
        await self.ground.prepare(report=lambda _: None)
        town = await self._in_process()
        if self.wants(*_OVER_HTTP):
            file = self.ground.folder / "town.tsv"
            town.write(file)
            await self._over_http(file)

    async def _in_process(self) -> Town:
        plan = self.plan
        self.report(f"{plan.people:,} people open {plan.people * plan.wallets_each:,} wallets")
        async with self.ground.pool() as db:
            town = await settle_town(
                db,
                ledger=build_ledger(),
                keys=self.ground.keys,
                people=plan.people,
                wallets_each=plan.wallets_each,
            )
            async with engine.own_engine(db) as payments:
                await fund(town, payments=payments)
                if self.wants("engine"):
                    self.report("engine: 256 commands at once")
                    self.figures.append(
                        await engine.measure(
                            self.ground,
                            payments,
                            town=town,
                            seconds=plan.seconds,
                            base=self.base,
                        )
                    )
        return town

    async def _over_http(self, file: Path) -> None:
        load = http.Load(
            self.ground, generator=self.generator, file=file, seconds=self.plan.seconds
        )
        try:
            uniform, workers = await http.uniform(
                self.ground, load, workers=self.plan.workers, base=self.base, report=self.report
            )
        except CannotMeasure as problem:
            self.skipped.append(Skipped(name="http", reason=str(problem)))
            return
        self.figures.append(uniform)
        if not self.wants("latency", "hot"):
            return
        with served(self.ground, workers=workers) as server:
            if self.wants("latency"):
                self.report("HTTP: transfers at half load")
                self.figures.append(await http.half_load(load, on=server, full=uniform.value))
            if self.wants("hot"):
                self.report("HTTP: transfers into one hot wallet")
                self.figures.append(await http.hot(load, on=server, uniform=uniform.value))

    def _value(self, name: str) -> float | None:
        return next((figure.value for figure in self.figures if figure.name == name), None)
