"""What a context declares: the tasks that its jobs are of, and the schedules that make jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from guilder.platform.bus.parking import Patience
from guilder.platform.jobs.cron import Cron
from guilder.platform.jobs.held import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A kind of work. ``perform`` is called with the job; it may be called again after a failure.

    What it commits it commits through the job (`Held.commit`), which the database refuses once
    another worker has taken over. A job of which nobody heard for ``lease_s`` is taken over.
    """

    name: str
    perform: Callable[[Held], Awaitable[None]]
    lease_s: float = 30.0
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Makes a job of ``task`` whenever ``cron`` says, however many workers there are.

    Times that passed while nobody worked are made up for by one job. Each job's arguments have
    ``scheduled_for``, the time it was due.
    """

    name: str
    cron: Cron
    task: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
