"""What a context gives to whoever composes an application: its routes, what it hears, its jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from guilder.platform.bus import Subscription
from guilder.platform.checks import Check
from guilder.platform.http.route import Route
from guilder.platform.jobs import Schedule, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Background work that is called again and again: after ``every_s`` seconds of rest.

    It must be safe to run in several processes at once and to be killed at any point.
    """

    name: str
    every_s: float
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A wired context. ``service_names`` are what the gateway strips from a path."""

    name: str
    service_names: tuple[str, ...]
    routes: tuple[Route, ...]
    subscriptions: tuple[Subscription, ...] = ()
    jobs: tuple[Job, ...] = ()
    tasks: tuple[Task, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    checks: tuple[Check, ...] = ()
    on_start: tuple[Callable[[], Awaitable[None]], ...] = field(default=())
    on_stop: tuple[Callable[[], Awaitable[None]], ...] = field(default=())
    on_drain: tuple[Callable[[], None], ...] = field(default=())
    """Called before the last requests are waited for: ends answers that never end by themselves."""
