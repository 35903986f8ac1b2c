"""Background work of notifications: messages that are due, and an outbox that does not grow."""

from __future__ import annotations

from typing import Final

from guilder.notifications.service.courier import Courier
from guilder.platform.module import Job

_DELIVER_EVERY_S: Final = 0.25
_CLEAR_EVERY_S: Final = 3600.0


def jobs(courier: Courier) -> tuple[Job, ...]:
    """Everything that notifications do by themselves."""
    return (
        Job(name="notifications.deliver", every_s=_DELIVER_EVERY_S, run=courier.deliver),
        Job(name="notifications.clear_sandbox", every_s=_CLEAR_EVERY_S, run=courier.clear_sandbox),
    )
