"""What somebody decided about dead jobs, keyed by the job."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from msgspec import Struct


class JobRetried(Struct, frozen=True, kw_only=True):
    """A dead job will be tried again as if for the first time."""

    TYPE: ClassVar[str] = "com.guilder.job.retried"

    job_id: UUID
    task: str


class JobDiscarded(Struct, frozen=True, kw_only=True):
    """A dead job was given up: it is never done."""

    TYPE: ClassVar[str] = "com.guilder.job.discarded"

    job_id: UUID
    task: str
