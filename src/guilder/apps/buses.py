"""Which bus carries events: PostgreSQL by itself, or Kafka where the settings name one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final, Protocol

from prometheus_client import CollectorRegistry

from guilder.platform.bus import Bus, Subscription
from guilder.platform.bus.lag import forget_group
from guilder.platform.db import Database
from guilder.platform.settings import Settings
from guilder.platform.startup import CannotStart

_RELAY: Final = "kafka.relay"


class ExtraMissing(CannotStart):
    """Kafka is asked for and its client is not installed."""


class WrongOptions(CannotStart):
    """The options of Kafka's client cannot be read."""


class Running(Protocol):
    """Feeds subscriptions."""

    async def run(self) -> None:
        """Feed until cancelled."""
        ...


class _Here:
    """PostgreSQL by itself. Where Kafka was used before, its relay holds no events back."""

    def __init__(
        self,
        db: Database,
        subscriptions: Sequence[Subscription],
        *,
        registry: CollectorRegistry | None,
    ) -> None:
        self._db = db
        self._bus = Bus(db, subscriptions, registry=registry)

    async def run(self) -> None:
        await forget_group(self._db, _RELAY)
        await self._bus.run()


def bus_of(
    settings: Settings,
    subscriptions: Sequence[Subscription],
    *,
    db: Database,
    registry: CollectorRegistry | None = None,
) -> Running:
    """The bus that feeds these subscriptions.

    Raises:
        ExtraMissing: Kafka is asked for and its client is not installed.
        WrongOptions: an option of Kafka's client cannot be read.
    """
    if settings.kafka_bootstrap is None:
        return _Here(db, subscriptions, registry=registry)
    try:
        kafka = import_module("guilder.platform.kafka.feeding")
    except ModuleNotFoundError as missing:
        raise ExtraMissing(
            f"GUILDER_KAFKA_BOOTSTRAP needs {missing.name}: pip install 'guilder[kafka]'"
        ) from None
    bus: Running = kafka.KafkaBus(
        db,
        subscriptions,
        bootstrap=settings.kafka_bootstrap,
        options=kafka_options(settings),
        registry=registry,
    )
    return bus


def kafka_options(settings: Settings) -> dict[str, str]:
    """The options for Kafka's client by name.

    Raises:
        WrongOptions: one of them has no value.
    """
    given = settings.kafka_options
    if given is None:
        return {}
    parts = [part for part in given.get_secret_value().split(";") if part.strip()]
    if not all("=" in part for part in parts):
        raise WrongOptions("GUILDER_KAFKA_OPTIONS: write each as name=value, with ; between")
    pairs = [part.split("=", 1) for part in parts]
    return {name.strip(): value.strip() for name, value in pairs}
