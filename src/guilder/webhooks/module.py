"""Wires webhooks: the only file that sees every layer of the context."""

from __future__ import annotations

import ssl
from datetime import timedelta

from prometheus_client import CollectorRegistry

from guilder.platform.db import Database
from guilder.platform.egress import Egress
from guilder.platform.envelopes import OuterKeys
from guilder.platform.module import Module
from guilder.platform.outward import CallLimits, OutwardHttp
from guilder.webhooks.consumers import subscriptions
from guilder.webhooks.http import routes
from guilder.webhooks.jobs import jobs
from guilder.webhooks.service.clearing import Clearing
from guilder.webhooks.service.fan_out import FanOut
from guilder.webhooks.service.figures import Figures
from guilder.webhooks.service.registration import SECRET_OVERLAP, Registration
from guilder.webhooks.service.replays import DeliveryLog
from guilder.webhooks.service.sending import Plan, Sending
from guilder.webhooks.store.checks import CHECKS

__all__ = ["Plan", "build"]


def build(
    *,
    db: Database,
    keys: OuterKeys,
    egress: Egress,
    registry: CollectorRegistry,
    plan: Plan | None = None,
    limits: CallLimits | None = None,
    tls: ssl.SSLContext | None = None,
    overlap: timedelta = SECRET_OVERLAP,
) -> Module:
    """The wired context."""
    plan = plan or Plan()
    fan_out = FanOut(db, at_once=plan.at_once)
    http = OutwardHttp(egress, limits=limits, tls=tls)
    sending = Sending(db, keys=keys, http=http, plan=plan, figures=Figures(registry))
    registration = Registration(db, keys=keys, egress=egress, at_once=plan.at_once, overlap=overlap)
    return Module(
        name="webhooks",
        service_names=("webhook",),
        routes=routes(registration, DeliveryLog(db, at_once=plan.at_once)),
        subscriptions=subscriptions(fan_out, registration),
        jobs=jobs(sending=sending, fan_out=fan_out, clearing=Clearing(db)),
        checks=CHECKS,
        on_start=(keys.learn,),
    )
