"""Identifiers: UUIDs (version 7 when Guilder makes them), one type per kind of thing."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
AccountId = NewType("AccountId", UUID)
TransactionId = NewType("TransactionId", UUID)
ControlId = NewType("ControlId", UUID)
WalletId = NewType("WalletId", UUID)
EventId = NewType("EventId", UUID)
SessionId = NewType("SessionId", UUID)
