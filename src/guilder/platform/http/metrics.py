"""Counts requests and their durations by route, for Prometheus.

A request costs two integer additions here; the metric objects are made when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LABELS: Final = ("method", "route")


class Meter:
    """The counts of one method on one route."""

    __slots__ = ("by_status", "durations", "method", "template", "total_s")

    def __init__(self, *, method: str, template: str) -> None:
        self.method = method
        self.template = template
        self.by_status: dict[int, int] = {}
        self.durations = [0] * (len(_BOUNDS_S) + 1)
        self.total_s = 0.0

    def observe(self, status: int, seconds: float) -> None:
        """Count one answer."""
        by_status = self.by_status
        by_status[status] = by_status.get(status, 0) + 1
        self.durations[bisect_left(_BOUNDS_S, seconds)] += 1
        self.total_s += seconds


class RequestMetrics(Collector):
    """All meters of one process, as ``guilder_http_requests_total`` and ``…_duration_seconds``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._meters: list[Meter] = []
        registry.register(self)

    def meter(self, *, method: str, template: str) -> Meter:
        """A new meter; whoever asks for it keeps it."""
        made = Meter(method=method, template=template)
        self._meters.append(made)
        return made

    def collect(self) -> Iterable[Metric]:
        used = [meter for meter in self._meters if meter.by_status]
        yield _requests(used)
        yield _durations(used)


def _requests(meters: Iterable[Meter]) -> Metric:
    family = CounterMetricFamily(
        "guilder_http_requests", "Answered requests.", labels=(*_LABELS, "status")
    )
    for meter in meters:
        for status, count in sorted(meter.by_status.items()):
            family.add_metric((meter.method, meter.template, str(status)), count)
    return family


def _durations(meters: Iterable[Meter]) -> Metric:
    family = HistogramMetricFamily(
        "guilder_http_request_duration_seconds",
        "Time from the request's head to the answer's head.",
        labels=_LABELS,
    )
    for meter in meters:
        labels = (meter.method, meter.template)
        family.add_metric(labels, list(_buckets(meter)), sum_value=meter.total_s)
    return family


def _buckets(meter: Meter) -> Iterator[tuple[str, float]]:
    bounds = (*(str(bound) for bound in _BOUNDS_S), "+Inf")
    return zip(bounds, accumulate(meter.durations), strict=True)
