"""How long a pool's sessions and whoever uses them wait, for each kind of waiting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Time limits of one pool's sessions, in milliseconds on the server, seconds on the client."""

    statement_ms: int = 15_000
    lock_ms: int = 5_000
    idle_in_transaction_ms: int = 10_000
    command_s: float = 20.0
    connect_s: float = 10.0
    acquire_s: float = 5.0
    """How long work waits for a connection while others have them all."""
