"""Figures of webhooks for whoever runs Guilder, as Prometheus reads them."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)


class Figures:
    """What this process has sent, and what it is sending."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.attempts = Counter(
            "guilder_webhook_attempts",
            "Requests to webhook endpoints by what they came to.",
            ["outcome"],
            registry=registry,
        )
        self.durations = Histogram(
            "guilder_webhook_attempt_duration_seconds",
            "Time that a request to a webhook endpoint took.",
            buckets=_BOUNDS_S,
            registry=registry,
        )
        self.delays = Histogram(
            "guilder_webhook_first_attempt_delay_seconds",
            "Time from an event to the first request that tells of it.",
            buckets=(*_BOUNDS_S, 60, 300, 3600),
            registry=registry,
        )
        self.under_way = Gauge(
            "guilder_webhook_requests_under_way",
            "Requests to webhook endpoints that have no answer yet.",
            ["lane"],
            registry=registry,
        )
        self.overdue = Gauge(
            "guilder_webhook_overdue_seconds",
            "How long the delivery that is most overdue has waited for a worker.",
            registry=registry,
        )
        self.fenced = Counter(
            "guilder_webhook_fenced",
            "Answers that were not written down, as the delivery had been given to another worker.",
            registry=registry,
        )
        self.disabled = Counter(
            "guilder_webhook_endpoints_disabled",
            "Endpoints that Guilder stopped calling.",
            ["reason"],
            registry=registry,
        )
