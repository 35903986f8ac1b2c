"""Appoints staff: an existing user gets a staff role, or a new user is made for it."""

from __future__ import annotations

from typing import Final

from guilder.identity.api import AccountType, Applicant, Appointed
from guilder.identity.domain.applicants import Person, read_applicant
from guilder.identity.events import RoleAssigned
from guilder.identity.service.contacts import details_of, publish, sealed
from guilder.identity.service.passwords import Passwords
from guilder.identity.service.register import (
    add_user,
    new_user,
    readable_email,
)
from guilder.identity.store import revocations, roles
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import ADMIN, COMPLIANCE, OPERATIONS, SUPPORT

STAFF_ROLES: Final = frozenset({SUPPORT, COMPLIANCE, OPERATIONS, ADMIN})


class StaffAppointments:
    """The `guilder.identity.api.Staff` of the one database."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        passwords: Passwords,
        contacts: OuterKeys,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._passwords = passwords
        self._contacts = contacts
        self._default_region = default_region

    async def is_registered(self, email: str) -> bool:
        """Whether a user has this email.

        Raises:
            ValidationFailed: it is no email address.
        """
        return await self._holder(email) is not None

    async def appoint(
        self, *, email: str, role: str, full_name: str | None = None, password: str | None = None
    ) -> Appointed:
        """Give the user with this email a staff role, making the user when there is none.

        An existing user keeps name and password; a new one needs both.

        Raises:
            ValidationFailed: an unknown staff role, or a new user's details are missing or weak.
        """
        if role not in STAFF_ROLES:
            raise ValidationFailed(
                fields={"role": f"is not one of {', '.join(sorted(STAFF_ROLES))}"}
            )
        holder = await self._holder(email)
        if holder is not None:
            await self._db.run(lambda tx: self._assign(tx, holder, role))
            return Appointed(user_id=holder, email=email, created=False)
        applicant = Applicant(
            email=email, full_name=full_name or "", phone=None, password=password or ""
        )
        person = read_applicant(applicant, default_region=self._default_region)
        return await self._create(person, role)

    async def _create(self, person: Person, role: str) -> Appointed:
        user = new_user(person, password_hash=await self._passwords.hash(person.password))

        contact = sealed(user.id, details_of(user), keys=self._contacts)

        async def write(tx: Tx) -> None:
            if await add_user(tx, user, users=self._users):
                await self._users.add_account(
                    tx, id=user.id, user_id=user.id, type=AccountType.STAFF
                )
                await publish(tx, user.id, details_of(user), contact=contact)
            await self._assign(tx, user.id, role)

        await self._db.run(write)
        return Appointed(user_id=user.id, email=user.email, created=True)

    async def _holder(self, email: str) -> UserId | None:
        key = readable_email(email).key
        holders = await self._db.run(lambda tx: self._users.who_has(tx, email_key=key, phone=None))
        return next(iter(holders), None)

    async def _assign(self, tx: Tx, user_id: UserId, role: str) -> None:
        await roles.lock(tx)
        assigned_at = await self._users.add_role(tx, account_id=user_id, role=role)
        if assigned_at is None:
            return
        await revocations.roles_changed(tx, user_id)
        event = RoleAssigned(
            user_id=user_id, account_id=user_id, role=role, assigned_at=assigned_at
        )
        await append(tx, [outgoing(event, key=str(user_id))])
