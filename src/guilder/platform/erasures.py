"""Lists of erased persons: files outside the database, which no restored backup undoes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from guilder.platform.key_files import KeyUnusable


class Listed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: whose key is to be destroyed, and why."""

    person_id: UUID
    reason: str


_decode: Final = msgspec.json.Decoder(Listed).decode


class ErasureList:
    """A list in one folder. Each context that erases has one of its own."""

    def __init__(self, folder: Path, *, name: str = "erasures.jsonl") -> None:
        self._path = folder / name

    def add(self, listed: Listed) -> None:
        """Add a line, and return once it is on disk."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # one write to a file opened for appending: lines of several processes do not mix
        file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        try:
            os.write(file, b"\n" + msgspec.json.encode(listed) + b"\n")
            os.fsync(file)
        finally:
            os.close(file)

    def read(self) -> Sequence[Listed]:
        """Every line, oldest first.

        Raises:
            KeyUnusable: a line is damaged.
        """
        if not self._path.exists():
            return ()
        lines = self._path.read_bytes().split(b"\n")
        try:
            return [_decode(line) for line in lines if line]
        except msgspec.DecodeError as error:
            raise KeyUnusable(f"{self._path}: a line cannot be read") from error
