"""What leaves for people (codes, mails, texts, pushes) as JSON lines in a file, for tests."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec


class Sink:
    """Appends to one file; several processes may, since each line is a single write."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def write(self, kind: str, **fields: str) -> None:
        """Append one line: what it is, when it left, and its fields."""
        line = {"kind": kind, "at": datetime.now(UTC).isoformat(), **fields}
        await asyncio.to_thread(self._append, msgspec.json.encode(line) + b"\n")

    def _append(self, line: bytes) -> None:
        descriptor = os.open(self._file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
