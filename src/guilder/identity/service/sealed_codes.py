"""Codes as they are made, and as they travel."""

from __future__ import annotations

import secrets
from base64 import b64encode

from guilder.identity.events import code_place
from guilder.kernel.ids import UserId
from guilder.platform.envelopes import OuterKeys


def new_code() -> str:
    """Six digits that nobody can foresee."""
    return f"{secrets.randbelow(1_000_000):06}"


def sealed_code(user_id: UserId, code: str, *, keys: OuterKeys) -> str:
    """A code as it travels to whoever delivers it."""
    return b64encode(keys.wrap(code.encode(), at=code_place(user_id))).decode("ascii")
