"""What identity does by itself."""

from __future__ import annotations

from typing import Final

from guilder.identity.service.key_rotation import KeyRotation
from guilder.identity.service.revocations import Revocations
from guilder.platform.module import Job

_FORGET_EVERY_S: Final = 60.0
_ROTATE_EVERY_S: Final = 3600.0


def forget_revocations(revocations: Revocations) -> Job:
    """Deletes revocations of tokens that have all expired since."""

    async def run() -> None:
        await revocations.purge()

    return Job(name="identity.forget_revocations", every_s=_FORGET_EVERY_S, run=run)


def rotate_keys(rotation: KeyRotation) -> Job:
    """Looks whether the key that signs access tokens has grown old."""
    return Job(name="identity.rotate_keys", every_s=_ROTATE_EVERY_S, run=rotation.rotate_when_due)
