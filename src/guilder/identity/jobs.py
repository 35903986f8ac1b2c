"""What identity does by itself."""

from __future__ import annotations

from typing import Final

from guilder.identity.service.code_services import CodeServices
from guilder.identity.service.factor_clearing import FactorClearing, FactorResealing
from guilder.identity.service.key_rotation import KeyRotation
from guilder.identity.service.outside_sign_in import OutsideSignIn
from guilder.identity.service.personal_data import ErasePeople
from guilder.identity.service.personal_rotation import RotatePersonalKeys
from guilder.identity.service.revocations import Revocations
from guilder.identity.service.session_clearing import SessionClearing
from guilder.platform.module import Job

_FORGET_EVERY_S: Final = 60.0
_CLEAR_SESSIONS_EVERY_S: Final = 600.0
_ROTATE_EVERY_S: Final = 3600.0
_SEAL_EVERY_S: Final = 600.0


def forget_revocations(revocations: Revocations) -> Job:
    """Deletes revocations of tokens that have all expired since."""

    async def run() -> None:
        await revocations.purge()

    return Job(name="identity.forget_revocations", every_s=_FORGET_EVERY_S, run=run)


def rotate_keys(rotation: KeyRotation) -> Job:
    """Looks whether the key that signs access tokens has grown old."""
    return Job(name="identity.rotate_keys", every_s=_ROTATE_EVERY_S, run=rotation.rotate_when_due)


def clear_codes(codes: CodeServices) -> Job:
    """Ends verifications that nobody completed, and wipes codes whose time is over."""
    return Job(name="identity.clear_codes", every_s=_FORGET_EVERY_S, run=codes.clear)


def forget_wishes(codes: CodeServices) -> Job:
    """Deletes jobs about codes that could not be done before they were of no use any more."""

    async def run() -> None:
        await codes.sending.forget_failed()
        await codes.alarms.forget_failed()

    return Job(name="identity.forget_wishes", every_s=_FORGET_EVERY_S, run=run)


def clear_factors(clearing: FactorClearing) -> Job:
    """Deletes challenges, ceremonies and proofs that have been over for a day."""
    return Job(name="identity.clear_factors", every_s=_FORGET_EVERY_S, run=clearing.clear)


def reseal_factors(resealing: FactorResealing) -> Job:
    """Looks whether secrets of authenticator apps are sealed by an older key."""
    return Job(name="identity.reseal_factors", every_s=_ROTATE_EVERY_S, run=resealing.reseal)


def seal_personal_data(rotation: RotatePersonalKeys) -> Job:
    """Encrypts users who were written before there were keys of persons."""
    return Job(
        name="identity.seal_personal_data",
        every_s=_SEAL_EVERY_S,
        run=rotation.seal_those_before,
    )


def clear_sessions(clearing: SessionClearing) -> Job:
    """Forgets sessions that are over, devices nobody uses and failures that count no more."""
    return Job(name="identity.clear_sessions", every_s=_CLEAR_SESSIONS_EVERY_S, run=clearing.clear)


def clear_outside_sign_ins(sign_in: OutsideSignIn) -> Job:
    """Forgets sign-ins with providers that nobody came back from."""
    return Job(name="identity.clear_outside_sign_ins", every_s=_FORGET_EVERY_S, run=sign_in.purge)


def keep_erased(erasing: ErasePeople) -> Job:
    """Erases again whoever a restored backup has brought back."""
    return Job(name="identity.keep_erased", every_s=_FORGET_EVERY_S, run=erasing.keep_to_list)
