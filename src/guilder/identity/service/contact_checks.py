"""Users prove that an email or a phone is theirs, with a code that is sent to it."""

from __future__ import annotations

import math
from datetime import timedelta
from enum import StrEnum

from guilder.identity.api import AccountView
from guilder.identity.api.codes import (
    CODE_LIFE_S,
    CodeSent,
    ContactStanding,
    NoSuchContact,
    TooManyCodesSent,
)
from guilder.identity.api.second_factors import InvalidOtp
from guilder.identity.domain.lockout import Guessing
from guilder.identity.service.first_proofs import prove
from guilder.identity.service.lockout import Lockout
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose
from guilder.identity.service.sealed_codes import CodePost
from guilder.identity.store import credentials
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import Overloaded, Unauthenticated
from guilder.kernel.ids import UserId
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once

_LIFE = timedelta(seconds=CODE_LIFE_S)


class Contact(StrEnum):
    """An address that a user can prove."""

    EMAIL = "email"
    PHONE = "phone"


class ContactChecks:
    """Sends codes to users' own addresses, and takes them."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        codes: OneTimeCodes,
        lockout: Lockout,
        keys: OuterKeys,
    ) -> None:
        self._db = db
        self._lockout = lockout
        self._users = users
        self._codes = codes
        self._post = CodePost(keys)

    async def send(self, account_id: UserId, *, contact: Contact) -> CodeSent:
        """Send a code to the caller's own email or phone.

        Raises:
            Unauthenticated: there is no such account any more.
            NoSuchContact: the user has no such address.
            TooManyCodesSent: one was sent just now, or several lately.
            Overloaded: the store of codes does not answer.
        """
        account = await self._account(account_id)
        subject, purpose = _subject(account, contact), Purpose(contact.value)
        attempt = new_id()
        wait = await self._db.run(
            lambda tx: self._codes.wait_to_send(tx, purpose, subject=subject, attempt=attempt)
        )
        if wait:
            raise TooManyCodesSent(retry_after_s=math.ceil(wait.total_seconds()))
        code = await self._codes.make(purpose, subject=subject)
        channel = "email" if contact is Contact.EMAIL else "sms"
        await run_once(
            self._db,
            lambda tx: self._post.publish(
                tx, account.user_id, purpose, code=code, channel=channel, life=_LIFE
            ),
        )
        return CodeSent(message=f"A code is on its way to your {contact}.", expires_in=CODE_LIFE_S)

    async def confirm(
        self, account_id: UserId, *, contact: Contact, code: str, client_address: str
    ) -> ContactStanding:
        """Take a code, and know from then on that the address is the user's.

        Raises:
            Unauthenticated: there is no such account any more.
            NoSuchContact: the user has no such address.
            InvalidOtp: the code is wrong, was used or tried too often, or is too old.
            TooManySignIns: too many codes of this user were wrong, or too much from this address.
            Overloaded: the store of codes does not answer.
        """
        account = await self._account(account_id)
        purpose = Purpose(contact.value)
        subject = _subject(account, contact)
        attempt = await run_once(
            self._db,
            lambda tx: self._lockout.admit(
                tx,
                guessing=Guessing.CONTACT_CODE,
                name=str(account.user_id),
                client_address=client_address,
            ),
        )
        try:
            is_right = await self._codes.take(purpose, subject=subject, code=code)
        except Overloaded:
            await self._lockout.withdrawn(attempt)
            raise
        if not is_right:
            raise InvalidOtp
        await self._lockout.succeeded(attempt)
        epoch = account.sign_in_epoch
        await self._db.run(
            lambda tx: prove(tx, account.user_id, contact=contact.value, epoch=epoch)
        )
        return await self.standing(account.user_id)

    async def standing(self, user_id: UserId) -> ContactStanding:
        """Which of a user's addresses are proved."""
        return await self._db.run(lambda tx: credentials.contact_standing(tx, user_id))

    async def _account(self, account_id: UserId) -> AccountView:
        account = await self._db.run(lambda tx: self._users.account(tx, account_id))
        if account is None:
            raise Unauthenticated
        return account


def _subject(account: AccountView, contact: Contact) -> str:
    """The address with its user: another address, or another's, has another code."""
    address = account.email if contact is Contact.EMAIL else account.phone
    if address is None:
        raise NoSuchContact
    return f"{account.user_id}|{address}"
