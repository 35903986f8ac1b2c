"""Puts the use cases of second factors together."""

from __future__ import annotations

from dataclasses import dataclass

from guilder.identity.service.factor_reset import FactorReset
from guilder.identity.service.passkey_proofs import PasskeyProofs
from guilder.identity.service.passkeys import Passkeys
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.relying_party import RelyingParty
from guilder.identity.service.second_factor_codes import SecondFactorCodes
from guilder.identity.service.second_factors import SecondFactorSignIn
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.step_up import StepUp
from guilder.identity.service.totp_enrollment import TotpEnrollment
from guilder.identity.store.users import UserStore
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorServices:
    """The use cases, sharing what they need of each other."""

    sign_in: SecondFactorSignIn
    enrollment: TotpEnrollment
    passkeys: Passkeys
    step_up: StepUp
    reset: FactorReset


def build_factors(
    *,
    db: Database,
    users: UserStore,
    sessions: Sessions,
    passwords: Passwords,
    keys: OuterKeys,
    site: RelyingParty,
) -> FactorServices:
    """Second factors for the people of one database, with passkeys for ``site``.

    ``keys`` encrypt the secrets of authenticator apps.
    """
    codes = SecondFactorCodes(keys=keys)
    proofs = PasskeyProofs(db=db, site=site)
    step_up = StepUp(db=db, passwords=passwords, codes=codes, proofs=proofs)
    return FactorServices(
        sign_in=SecondFactorSignIn(
            db=db, users=users, sessions=sessions, codes=codes, proofs=proofs, site=site
        ),
        enrollment=TotpEnrollment(
            db=db, users=users, sessions=sessions, codes=codes, step_up=step_up
        ),
        passkeys=Passkeys(
            db=db, users=users, sessions=sessions, proofs=proofs, site=site, step_up=step_up
        ),
        step_up=step_up,
        reset=FactorReset(db=db, sessions=sessions),
    )
