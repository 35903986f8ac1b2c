"""Words and refusals of webhooks."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType
from uuid import UUID

from guilder.kernel.errors import Conflict, Family, NotFound, Refusal, ValidationFailed

EndpointId = NewType("EndpointId", UUID)
DeliveryId = NewType("DeliveryId", UUID)


class EndpointStatus(StrEnum):
    """Whether an endpoint is called."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"


class DisabledReason(StrEnum):
    """Why an endpoint is not called."""

    OWNER = "owner"
    """Its owner said so."""
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """It has failed without a pause for too long."""


class DeliveryState(StrEnum):
    """Where a delivery is in its life."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up after the last attempt. A replay begins again."""
    SKIPPED = "skipped"
    """It happened while the endpoint was disabled. A replay sends it."""


class EndpointNotFound(NotFound):
    """There is no such endpoint, or it is somebody else's."""

    message = "There is no such webhook endpoint."


class DeliveryNotFound(NotFound):
    """There is no such delivery, or it is to somebody else's endpoint."""

    message = "There is no such delivery."


class EndpointIsDisabled(Conflict):
    """Nothing is sent to a disabled endpoint; enable it first."""

    message = "The webhook endpoint is disabled."


class TooManyEndpoints(Conflict):
    """Its owner has as many endpoints as one may have."""

    message = "You have as many webhook endpoints as one may have."


class StillPending(Conflict):
    """The delivery is on its way, so there is nothing to replay."""

    message = "The delivery is still on its way."


class TooManyReplays(Refusal):
    """The owner has sent as many deliveries again today as one may on a day (UTC)."""

    code = "TOO_MANY_REPLAYS"
    family = Family.TOO_MANY
    message = "You have replayed as many deliveries today as one may; go on tomorrow."


class UnknownEvents(ValidationFailed):
    """A filter that no public event fits. ``details["known"]`` lists the events there are."""

    message = "There are no such events."


class RangeTooLarge(ValidationFailed):
    """A replay would send more deliveries than one request may ask for."""

    message = "That are too many deliveries for one replay; ask for a shorter range."
