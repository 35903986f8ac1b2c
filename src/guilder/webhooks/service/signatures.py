"""Signatures as the Standard Webhooks specification has them, and the secrets they are made with.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from guilder.webhooks.api import DeliveryId, EndpointId

_PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> bytes:
    """A random secret: 256 bits, as long as the digest."""
    return os.urandom(_SECRET_BYTES)


def shown(secret: bytes) -> str:
    """A secret as its owner gets it: ``whsec_`` and base64."""
    return _PREFIX + base64.b64encode(secret).decode("ascii")


def place(endpoint_id: EndpointId) -> bytes:
    """What a stored secret is bound to, so that it opens in no other row."""
    return f"webhooks.endpoints|secret|{endpoint_id}".encode()


def signed(
    body: bytes, *, delivery_id: DeliveryId, at: datetime, secrets: Sequence[bytes]
) -> dict[str, str]:
    """The three headers for ``body``, with a signature by each secret. Time counts in seconds."""
    timestamp = str(int(at.timestamp()))
    content = f"{delivery_id}.{timestamp}.".encode() + body
    signatures = (hmac.digest(secret, content, "sha256") for secret in secrets)
    return {
        "webhook-id": str(delivery_id),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(signature).decode('ascii')}" for signature in signatures
        ),
    }
