"""Background work of audit: heads are published, and erasures hold in restored databases."""

from __future__ import annotations

from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from guilder.audit.service.erase_person import ErasePerson
from guilder.audit.service.publish_heads import PublishHeads
from guilder.platform.module import Job

_log = structlog.get_logger("guilder.audit")
_ERASE_EVERY_S: Final = 60.0


def publish_heads(publishing: PublishHeads, *, every_s: float, registry: CollectorRegistry) -> Job:
    """Publishes the heads. ``guilder_audit_published_number`` stands still when it fails."""
    gauge = Gauge(
        "guilder_audit_published_number",
        "Number of the last publication of signed heads that this process knows of.",
        registry=registry,
    )

    async def run() -> None:
        # several workers run this; whoever comes early finds the last publication young
        published = await publishing.publish(at_most_every_s=every_s / 2)
        if published is not None:
            gauge.set(published.number)

    return Job(name="audit.publish_heads", every_s=every_s, run=run)


def erase_listed(erasing: ErasePerson) -> Job:
    """Erases again whoever a restored backup has brought back."""

    async def run() -> None:
        erased = await erasing.erase_listed()
        if erased:
            _log.warning("audit.erased_again", persons=erased)

    return Job(name="audit.erase_listed", every_s=_ERASE_EVERY_S, run=run)


class DenialCounts:
    """Counts denials as metrics; an alert on the dropped ones tells of a flood."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._kept = Counter(
            "guilder_denials_recorded", "Denied requests that were recorded.", registry=registry
        )
        self._dropped = Counter(
            "guilder_denials_dropped",
            "Denied requests that were only counted, because there were too many.",
            registry=registry,
        )

    def kept(self, count: int) -> None:
        self._kept.inc(count)

    def dropped(self, count: int) -> None:
        self._dropped.inc(count)
