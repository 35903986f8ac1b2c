"""Passkeys as their user sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class PasskeyView:
    """One passkey. ``is_synced`` when its maker keeps copies on the user's other devices."""

    id: UUID
    name: str
    is_synced: bool
    added_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedPasskey:
    """A new passkey, and recovery codes if the user had none. They are shown this once."""

    passkey: PasskeyView
    recovery_codes: tuple[str, ...] | None
