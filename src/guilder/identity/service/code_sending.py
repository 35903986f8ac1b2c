"""Codes and reset tokens for people who are not signed in: asked for by name, sent by a job.

The request only leaves a job, whoever is named. Whether somebody has that name is looked up by
whoever does the job, so neither the answer nor its time tells.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct, json

from guilder.identity.api import AccountType, AccountView
from guilder.identity.api.codes import CODE_LIFE_S, RESET_LIFE_S, CodeSent
from guilder.identity.api.verifications import token_digest
from guilder.identity.domain import applicants
from guilder.identity.domain.applicants import Malformed
from guilder.identity.events import CodeIssued
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose
from guilder.identity.service.sealed_codes import sealed_code
from guilder.identity.store import credentials
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.jobs import queue
from guilder.platform.jobs.held import Held
from guilder.platform.outbox import append, outgoing
from guilder.platform.permissions import CUSTOMER

SEND_CODE: Final = "identity.send_code"
_PLACE: Final = b"identity.jobs|name"
_FAILED_KEPT: Final = timedelta(days=1)
_TOKEN_BYTES: Final = 32
_SAID: Final = "If somebody is registered under this name, a code is on its way."
_RESET_SAID: Final = "If somebody is registered under this name, a reset token is on its way."


class Named(Struct, frozen=True, kw_only=True):
    """Whom somebody means: by the key of an email, or by a phone number."""

    email_key: str | None = None
    phone: str | None = None

    @property
    def subject(self) -> str:
        """What a code for this name is kept under."""
        return self.email_key or self.phone or ""

    @property
    def contact(self) -> str:
        """Which address the name is: email or phone."""
        return "phone" if self.email_key is None else "email"


def read_name(*, email: str | None, phone: str | None, default_region: str) -> Named | None:
    """The name that was written; None when nobody can have it.

    Raises:
        ValidationFailed: there is none, there are two, or it has characters that no name has.
    """
    problems: dict[str, str] = {}
    if (email is None) == (phone is None):
        problems["email"] = "or phone is needed, one of the two"
    for field, text in (("email", email), ("phone", phone)):
        if text is not None and not applicants.is_plain_name(text):
            problems[field] = "is too long or contains characters that none has"
    if problems:
        raise ValidationFailed(fields=problems)
    try:
        if email is not None:
            return Named(email_key=applicants.read_email(email.strip()).key)
        number = applicants.read_phone((phone or "").strip(), default_region=default_region)
    except Malformed:
        return None
    return Named(phone=number)


class CodeSending:
    """Takes wishes for codes, and sends codes to those who exist."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        codes: OneTimeCodes,
        keys: OuterKeys,
        default_region: str,
    ) -> None:
        self._db = db
        self._users = users
        self._codes = codes
        self._keys = keys
        self._default_region = default_region

    async def ask_to_sign_in(self, *, email: str | None, phone: str | None) -> CodeSent:
        """Have a code sent to sign in with, to the address that is the name.

        Raises:
            ValidationFailed: it is no name.
        """
        await self._ask(Purpose.LOGIN, email=email, phone=phone)
        return CodeSent(message=_SAID, expires_in=CODE_LIFE_S)

    async def ask_to_reset(self, *, email: str | None, phone: str | None) -> CodeSent:
        """Have a token sent to reset the password with, to the user's email.

        Raises:
            ValidationFailed: it is no name.
        """
        await self._ask(Purpose.PASSWORD_RESET, email=email, phone=phone)
        return CodeSent(message=_RESET_SAID, expires_in=RESET_LIFE_S)

    async def send(self, held: Held) -> None:
        """Send what a job asks for, if there is somebody to send it to, and not too often."""
        purpose = Purpose(held.arguments["purpose"])
        opened = self._keys.unwrap(b64decode(held.arguments["sealed"]), at=_PLACE)
        named = json.decode(opened, type=Named)
        account = await self._db.run(lambda tx: self._named(tx, named, purpose))
        if account is None:
            return
        if purpose is Purpose.LOGIN:
            await self._send_code(held, account, named)
        else:
            await self._send_token(held, account)

    async def forget_failed(self) -> None:
        """Forget whom those wishes named that could not be fulfilled in a day."""
        await queue.forget_dead(self._db, SEND_CODE, keep=_FAILED_KEPT)

    async def _ask(self, purpose: Purpose, *, email: str | None, phone: str | None) -> None:
        named = read_name(email=email, phone=phone, default_region=self._default_region)
        named = named or Named(email_key=(email or phone or "").strip().casefold())
        sealed = self._keys.wrap(json.encode(named), at=_PLACE)
        arguments = {
            "purpose": purpose.value,
            "sealed": b64encode(sealed).decode("ascii"),
            "attempt": str(new_id()),
        }
        key = self._codes.key(purpose, named.subject)
        await self._db.run(lambda tx: queue.enqueue(tx, SEND_CODE, arguments, key=key))

    async def _named(self, tx: Tx, named: Named, purpose: Purpose) -> AccountView | None:
        if purpose is Purpose.LOGIN:
            return await opened_by_code(tx, named, users=self._users)
        row = await self._users.sign_in_account(
            tx, email_key=named.email_key, phone=named.phone, account_type=None
        )
        return None if row is None else row.account

    async def _send_code(self, held: Held, account: AccountView, named: Named) -> None:
        subject = named.subject
        wait = await held.checkpoint(
            lambda tx: self._codes.wait_to_send(
                tx, Purpose.LOGIN, subject=subject, attempt=UUID(held.arguments["attempt"])
            )
        )
        if wait:
            return
        code = await self._codes.make(Purpose.LOGIN, subject=subject, epoch=account.sign_in_epoch)
        channel = "email" if named.contact == "email" else "sms"
        sealed = sealed_code(account.user_id, code, keys=self._keys)
        life = timedelta(seconds=CODE_LIFE_S)

        async def write(tx: Tx) -> None:
            await publish_code(
                tx, account.user_id, Purpose.LOGIN, channel=channel, sealed=sealed, life=life
            )

        await held.commit(write)

    async def _send_token(self, held: Held, account: AccountView) -> None:
        user_id, purpose = account.user_id, Purpose.PASSWORD_RESET
        token = f"rst_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        sealed = sealed_code(user_id, token, keys=self._keys)
        life = timedelta(seconds=RESET_LIFE_S)

        async def write(tx: Tx) -> None:
            if not await self._codes.wait_to_send(
                tx, purpose, subject=str(user_id), attempt=UUID(held.arguments["attempt"])
            ):
                await credentials.add_reset(tx, user_id, token=token_digest(token), life=life)
                await publish_code(tx, user_id, purpose, channel="email", sealed=sealed, life=life)

        await held.commit(write)


async def opened_by_code(tx: Tx, named: Named, *, users: UserStore) -> AccountView | None:
    """The account that a code sent to this name opens: a customer's, who is nothing else.

    Staff sign in with a password, also those whose account was a customer's before. A phone that
    nobody has proved opens nothing once the email is proved: whoever registered may have named
    the email of somebody else, whose account it is now.
    """
    row = await users.sign_in_account(
        tx, email_key=named.email_key, phone=named.phone, account_type=AccountType.CUSTOMER
    )
    if row is None or not {CUSTOMER}.issuperset(row.account.roles):
        return None
    account = row.account
    if named.contact == "phone" and account.email_verified and not account.phone_verified:
        return None
    return account


async def publish_code(
    tx: Tx, user_id: UserId, purpose: Purpose, *, channel: str, sealed: str, life: timedelta
) -> None:
    """Tell whoever delivers messages that a code is to be delivered."""
    issued_at = await database_time(tx)
    issued = CodeIssued(
        user_id=user_id,
        purpose=purpose.value,
        channel=channel,
        sealed=sealed,
        issued_at=issued_at,
        expires_at=issued_at + life,
    )
    await append(tx, [outgoing(issued, key=str(user_id))])
