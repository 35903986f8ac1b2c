"""Puts the use cases of one-time codes and passwords together."""

from __future__ import annotations

from dataclasses import dataclass

from guilder.identity.api.second_factors import SecondFactors
from guilder.identity.service.change_password import PasswordChange
from guilder.identity.service.code_sending import CodeSending
from guilder.identity.service.code_sign_in import CodeSignIn
from guilder.identity.service.code_stores import CodeStore
from guilder.identity.service.contact_checks import ContactChecks
from guilder.identity.service.guess_alarms import GuessAlarms
from guilder.identity.service.lockout import Lockout
from guilder.identity.service.one_time_codes import OneTimeCodes
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.recovery_of_access import RecoveryOfAccess
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.verification_tokens import SpentInTransactions
from guilder.identity.service.verifications import Verifying
from guilder.identity.store.users import UserStore
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeServices:
    """The use cases, sharing what they need of each other."""

    db: Database
    codes: OneTimeCodes
    verifying: Verifying
    sending: CodeSending
    alarms: GuessAlarms
    sign_in: CodeSignIn
    checks: ContactChecks
    recovery: RecoveryOfAccess
    change: PasswordChange

    async def clear(self) -> None:
        """Wipe codes whose time is over, and forget what is long past."""
        await self.verifying.clear()
        await self.recovery.clear()
        await self.db.run(self.codes.forget_sent)


def build_code_services(
    *,
    db: Database,
    users: UserStore,
    passwords: Passwords,
    sessions: Sessions,
    lockout: Lockout,
    factors: SecondFactors,
    keys: OuterKeys,
    codes: CodeStore,
    default_region: str,
) -> CodeServices:
    """Codes for the people of one database, kept in ``codes``. ``keys`` encrypt and digest them."""
    made = OneTimeCodes(codes=codes, keys=keys)
    verifying = Verifying(db=db, keys=keys, codes=codes)
    alarms = GuessAlarms(db=db, users=users, keys=keys)
    return CodeServices(
        db=db,
        codes=made,
        verifying=verifying,
        sending=CodeSending(
            db=db, users=users, codes=made, keys=keys, default_region=default_region
        ),
        alarms=alarms,
        sign_in=CodeSignIn(
            db=db,
            users=users,
            passwords=passwords,
            codes=made,
            sessions=sessions,
            verifying=verifying,
            factors=factors,
            lockout=lockout,
            alarms=alarms,
            default_region=default_region,
        ),
        checks=ContactChecks(db=db, users=users, codes=made, lockout=lockout, keys=keys),
        recovery=RecoveryOfAccess(
            db=db, users=users, passwords=passwords, sessions=sessions, verifying=verifying
        ),
        change=PasswordChange(
            db=db,
            users=users,
            passwords=passwords,
            sessions=sessions,
            lockout=lockout,
            verifying=verifying,
            tokens=SpentInTransactions(),
            keys=keys,
        ),
    )
