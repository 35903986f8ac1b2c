"""What receivers get: the event as a CloudEvent in JSON, the same letters at every attempt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from guilder.webhooks.store.routing import Heard

CONTENT_TYPE: Final = "application/cloudevents+json"


def message(
    event_id: UUID, *, type_: str, key: str, at: datetime, data: Mapping[str, Any]
) -> Heard:
    """The event with its envelope. ``key`` is the aggregate, CloudEvents' subject."""
    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/guilder/{type_.split('.')[2]}",
        "type": type_,
        "subject": key,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }
    body = msgspec.json.encode(envelope).decode()
    return Heard(id=event_id, type=type_, key=key, body=body, occurred_at=at)
