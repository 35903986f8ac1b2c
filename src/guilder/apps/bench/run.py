"""One run: the ground, the town, and each figure that is asked for, in an order that is fair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from guilder.apps.bench import bus, engine, growth, http, logins, profile, reads, start
from guilder.apps.bench.figure import Figure, Skipped
from guilder.apps.bench.ground import Ground, Report
from guilder.apps.bench.load import Generator
from guilder.apps.bench.pgbench import CannotMeasure, tpc_b
from guilder.apps.bench.profile import Share
from guilder.apps.bench.serving import Served, served
from guilder.apps.bench.town import Town, fund, settle_town
from guilder.apps.garbage import collect_rarely
from guilder.ledger.module import build_ledger
from guilder.payments.api import Payments

FIGURES: Final = (
    "pgbench",
    "engine",
    "bus",
    "http",
    "alone",
    "balance",
    "latency",
    "logins",
    "hot",
    "bulk",
    "growth",
    "history",
    "start",
)
_BEFORE_GROWTH: Final = ("latency", "logins", "hot", "bulk")
_AFTER_GROWTH: Final = ("growth", "history")
_COMPARED: Final = ("http", "latency", "logins", "hot", "growth")
"""Figures that need the transfer figure of the same run."""
_OVER_HTTP: Final = ("http", "alone", "balance", *_BEFORE_GROWTH, *_AFTER_GROWTH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how thoroughly. ``growth`` is how many entries are stored for it."""

    only: Collection[str] = FIGURES
    seconds: float = 10
    scale: int = 50
    people: int = 1000
    wallets_each: int = 10
    workers: tuple[int, ...] = (1, 2)
    growth: int = 1_000_000
    profile: bool = False

    def wants(self, *names: str) -> bool:
        """Whether one of these figures is asked for."""
        return any(name in self.only for name in names)


@dataclass(slots=True)
class Run:
    """What has been measured so far."""

    ground: Ground
    plan: Plan
    generator: Generator
    report: Report
    figures: list[Figure] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    profile: list[Share] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    async def measure(self) -> None:
        """Measure everything that is asked for. The ground's server has stopped afterwards."""
        plan = self.plan
        if plan.wants("pgbench"):
            await self._keep(
                "pgbench",
                lambda: tpc_b(
                    self.ground, seconds=plan.seconds, scale=plan.scale, report=self.report
                ),
            )
        if plan.wants("engine", "bus", "start", *_OVER_HTTP):
            if plan.profile:
                await profile.prepare(self.ground)
            await self.ground.prepare(report=lambda _: None)
        if plan.wants("engine", "bus", *_OVER_HTTP):
            town = await self._in_process()
            if plan.wants(*_OVER_HTTP):
                try:
                    await self._over_http(town)
                except CannotMeasure as problem:
                    self.skipped.append(Skipped(name="everything over HTTP", reason=str(problem)))
        self.settings = await self.ground.settings()
        self.ground.server.stop()
        if plan.wants("start"):
            self.report("start: guilder up, three times")
            self.figures.append(start.measure(self.ground))

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
                collect_rarely()
                if plan.wants("engine"):
                    self.report(f"engine: {engine.COMMANDS_AT_ONCE} commands at once")
                    await self._engine(payments, town=town)
                await self._keep(
                    "bus",
                    lambda: bus.measure(
                        self.ground, payments, town=town, seconds=self.plan.seconds
                    ),
                )
        return town

    async def _engine(self, payments: Payments, *, town: Town) -> None:
        if self.plan.profile:
            await profile.counted(self.ground)
        figure = await engine.measure(
            self.ground, payments, town=town, seconds=self.plan.seconds, base=self._value("pgbench")
        )
        self.figures.append(figure)
        if self.plan.profile:
            self.profile = profile.shares(
                await profile.counted(self.ground), transfers=int(figure.detail["transfers"])
            )

    async def _over_http(self, town: Town) -> None:
        ground, plan = self.ground, self.plan
        file = ground.folder / "town.tsv"
        town.write(file)
        load = http.Load(ground, generator=self.generator, file=file, seconds=plan.seconds)
        uniform, workers = await self._uniform(load)
        base = self._value("pgbench")
        await self._keep("alone", lambda: http.alone(ground, load, workers=workers, base=base))
        await self._keep(
            "balance",
            lambda: reads.balance(ground, load, workers=plan.workers, town=town, base=base),
        )
        if plan.wants(*_BEFORE_GROWTH):
            with served(ground, workers=workers) as server:
                await self._on_a_young_ledger(load, on=server, uniform=uniform)
        if plan.wants(*_AFTER_GROWTH):
            entries = await growth.fill(ground, town=town, entries=plan.growth, report=self.report)
            with served(ground, workers=workers) as server:
                await self._on_a_grown_ledger(
                    load, on=server, town=town, uniform=uniform, history=entries
                )

    async def _uniform(self, load: http.Load) -> tuple[float, int]:
        """The transfer figure that others are compared with, and the workers that serve best."""
        workers = self.plan.workers
        if not self.plan.wants(*_COMPARED):
            return 0.0, workers[-1]
        figure, best = await http.uniform(
            self.ground, load, workers=workers, base=self._value("pgbench"), report=self.report
        )
        self.figures.append(figure)
        return figure.value, best

    async def _on_a_young_ledger(self, load: http.Load, *, on: Served, uniform: float) -> None:
        base = self._value("pgbench")
        await self._keep("latency", lambda: http.half_load(load, on=on, full=uniform))
        await self._keep("logins", lambda: logins.beside_logins(load, on=on, full=uniform))
        await self._keep("hot", lambda: http.hot(load, on=on, uniform=uniform))
        await self._keep("bulk", lambda: http.bulk(load, on=on, base=base))

    async def _on_a_grown_ledger(
        self, load: http.Load, *, on: Served, town: Town, uniform: float, history: int
    ) -> None:
        await self._keep(
            "growth", lambda: growth.measure(load, on=on, entries=self.plan.growth, uniform=uniform)
        )
        await self._keep(
            "history",
            lambda: reads.deep_page(
                load, on=on, town=town, folder=self.ground.folder, entries=history
            ),
        )

    async def _keep(self, name: str, measuring: Callable[[], Awaitable[Figure]]) -> None:
        """Measure when it is asked for; a figure that cannot be had costs no other."""
        if not self.plan.wants(name):
            return
        self.report(f"measuring {name}")
        try:
            self.figures.append(await measuring())
        except CannotMeasure as problem:
            self.skipped.append(Skipped(name=name, reason=str(problem)))

    def _value(self, name: str) -> float | None:
        return next((figure.value for figure in self.figures if figure.name == name), None)
