"""Background work of notifications: messages that are due, what is not to be kept."""

from __future__ import annotations

from functools import partial
from typing import Final

from guilder.notifications.service.courier import Courier
from guilder.notifications.service.forgetting import Forgetting
from guilder.platform.module import Job

_DELIVER_EVERY_S: Final = 0.25
_CLEAR_EVERY_S: Final = 3600.0
_MEASURE_EVERY_S: Final = 15.0


def jobs(courier: Courier, forgetting: Forgetting) -> tuple[Job, ...]:
    """Everything that notifications do by themselves."""
    return (
        Job(name="notifications.lay_out", every_s=_DELIVER_EVERY_S, run=courier.lay_out),
        *(
            Job(
                name=f"notifications.deliver_{channel.value}",
                every_s=_DELIVER_EVERY_S,
                run=partial(courier.deliver_by, channel),
            )
            for channel in courier.channels
        ),
        Job(name="notifications.measure", every_s=_MEASURE_EVERY_S, run=courier.measure),
        Job(name="notifications.clear_old", every_s=_CLEAR_EVERY_S, run=courier.clear_old),
        Job(name="notifications.clear_sandbox", every_s=_CLEAR_EVERY_S, run=courier.clear_sandbox),
        Job(
            name="notifications.forget_late_news",
            every_s=_CLEAR_EVERY_S,
            run=forgetting.forget_late_news,
        ),
    )
