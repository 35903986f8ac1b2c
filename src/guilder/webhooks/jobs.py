"""What webhooks do by themselves: send, route what came too early, measure, clear away."""

from __future__ import annotations

from guilder.platform.module import Job
from guilder.webhooks.service.clearing import Clearing
from guilder.webhooks.service.fan_out import FanOut
from guilder.webhooks.service.sending import Sending


def jobs(*, sending: Sending, fan_out: FanOut, clearing: Clearing) -> tuple[Job, ...]:
    """Sending goes on until it is stopped; when it fails it begins again."""

    async def route_parked() -> None:
        while await fan_out.route_parked():
            pass

    return (
        Job(name="webhooks.send", every_s=1, run=sending.run),
        Job(name="webhooks.route_parked", every_s=1, run=route_parked),
        Job(name="webhooks.measure", every_s=15, run=sending.measure),
        Job(name="webhooks.clear", every_s=600, run=clearing.clear),
    )
