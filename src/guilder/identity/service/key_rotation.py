"""Succeeds the key that signs access tokens when it has grown old."""

from __future__ import annotations

import asyncio

import structlog

from guilder.platform.keys import KeyFolder

_log = structlog.get_logger("guilder.keys")


class KeyRotation:
    """Rotation by schedule. ``after_s`` is how old the newest key may grow, in seconds."""

    def __init__(self, keys: KeyFolder, *, after_s: float) -> None:
        self._keys = keys
        self._after_s = after_s

    async def rotate_when_due(self) -> None:
        """Add a key when the newest is old enough. However many processes ask, one is added.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
            OSError: the folder cannot be written to.
        """
        added = await asyncio.to_thread(self._keys.rotate_when_due, after_s=self._after_s)
        if added is not None:
            _log.info("keys.rotated", kid=added.kid, signs_from=added.signs_from)
