"""Somebody becomes a user: a customer account and its user-admin account, in one commit."""

from __future__ import annotations

from guilder.identity.api import AccountType, AccountView, AlreadyRegistered, Applicant
from guilder.identity.domain.applicants import Email, Malformed, Person, read_applicant, read_email
from guilder.identity.events import UserRegistered
from guilder.identity.service.contacts import details_of, publish, sealed
from guilder.identity.service.passwords import Passwords
from guilder.identity.store.users import Added, NewUser, UserStore
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.kernel.invariant import InvariantViolation
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import CUSTOMER, USER_ADMIN


class Registration:
    """Registers customers."""

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

    async def register(self, applicant: Applicant) -> AccountView:
        """Make the applicant a user and return their customer account.

        Raises:
            ValidationFailed: names each field that is wrong.
            AlreadyRegistered: the email or the phone is another user's.
            Overloaded: too many passwords are waiting to be hashed.
        """
        person = read_applicant(applicant, default_region=self._default_region)
        # Looked up first only to spare the hash; the unique indexes decide.
        await self._db.run(lambda tx: refuse_taken(tx, person, users=self._users))
        user = new_user(person, password_hash=await self._passwords.hash(person.password))
        user_admin_id = UserId(new_id())
        contact = sealed(user.id, details_of(user), keys=self._contacts)
        return await self._db.run(lambda tx: self._write(tx, user, user_admin_id, contact))

    async def close(self) -> None:
        """Stop what hashes passwords; for whoever built this alone."""
        await self._passwords.close()

    async def registered(self, email: str) -> AccountView | None:
        """The customer account of whoever has registered with this email.

        Raises:
            ValidationFailed: it is no email address.
        """
        key = readable_email(email).key
        row = await self._db.run(
            lambda tx: self._users.sign_in_account(
                tx, email_key=key, phone=None, account_type=AccountType.CUSTOMER
            )
        )
        return None if row is None else row.account

    async def _write(
        self, tx: Tx, user: NewUser, user_admin_id: UserId, contact: str
    ) -> AccountView:
        added = await add_user(tx, user, users=self._users)
        if added:
            await self._users.add_account(
                tx, id=user.id, user_id=user.id, type=AccountType.CUSTOMER
            )
            await self._users.add_account(
                tx, id=user_admin_id, user_id=user.id, type=AccountType.USER_ADMIN
            )
            await self._users.add_role(tx, account_id=user.id, role=CUSTOMER)
            await self._users.add_role(tx, account_id=user_admin_id, role=USER_ADMIN)
        account = await self._users.account(tx, user.id)
        if account is None:
            raise InvariantViolation("a user is written with the customer account")
        if added:
            await publish(tx, user.id, details_of(user), contact=contact)
            event = UserRegistered(
                user_id=user.id,
                user_admin_account_id=user_admin_id,
                registered_at=account.created_at,
            )
            await append(tx, [outgoing(event, key=str(user.id))])
        return account


def readable_email(text: str) -> Email:
    """The address in ``text``.

    Raises:
        ValidationFailed: it is no email address.
    """
    try:
        return read_email(text)
    except Malformed as problem:
        raise ValidationFailed(fields={"email": str(problem)}) from None


def new_user(person: Person, *, password_hash: str) -> NewUser:
    """The user a person becomes, under a new id."""
    return NewUser(
        id=UserId(new_id()),
        email=person.email.address,
        email_key=person.email.key,
        phone=person.phone,
        full_name=person.full_name,
        password_hash=password_hash,
    )


async def refuse_taken(tx: Tx, person: Person, *, users: UserStore) -> None:
    """Refuse a person whose email or phone somebody has.

    Raises:
        AlreadyRegistered: names the email rather than the phone when both are taken.
    """
    holders = await users.who_has(tx, email_key=person.email.key, phone=person.phone)
    if holders:
        raise _taken(holders)


async def add_user(tx: Tx, user: NewUser, *, users: UserStore) -> bool:
    """Write ``user``; False when this very user is there, of an attempt whose answer was lost.

    Raises:
        AlreadyRegistered: the email or the phone is another user's.
    """
    added = await users.add_user(tx, user)
    if added is Added.TAKEN:
        holders = await users.who_has(tx, email_key=user.email_key, phone=user.phone)
        holders.pop(user.id, None)
        raise _taken(holders)
    return added is Added.NEW


def _taken(holders: dict[UserId, str]) -> AlreadyRegistered:
    return AlreadyRegistered(field="email" if "email" in holders.values() else "phone")
