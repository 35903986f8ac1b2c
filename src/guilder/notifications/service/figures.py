"""Figures of messages for whoever runs Guilder, as Prometheus reads them."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from guilder.notifications.domain.records import Ended


class Figures:
    """What became of messages that this process sent, and how many wait in the database."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._ended = Counter(
            "guilder_notification_messages",
            "Messages that were sent or given up.",
            ["channel", "status"],
            registry=registry,
        )
        self.postponed = Counter(
            "guilder_notification_postponed",
            "Messages that a provider did not take and that are tried again.",
            ["channel"],
            registry=registry,
        )
        self.queued = Gauge(
            "guilder_notification_queued",
            "Messages that wait to be sent, those for later among them; counted up to 10,000.",
            registry=registry,
        )
        self.overdue = Gauge(
            "guilder_notification_overdue_seconds",
            "How long the message that is most overdue has waited for a courier.",
            registry=registry,
        )

    def count(self, ended: Iterable[Ended]) -> None:
        """Count messages by how they ended, once that is committed."""
        counted = Counted((one.delivery.channel.value, one.status) for one in ended)
        for (channel, status), count in counted.items():
            self._ended.labels(channel, status).inc(count)
