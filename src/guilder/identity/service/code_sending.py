"""Codes and reset tokens for people who are not signed in: asked for by name, sent by a job.

The request only leaves a job, whoever is named. Whether somebody has that name is looked up by
whoever does the job, so neither the answer nor its time tells.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from guilder.identity.api import AccountType, AccountView
from guilder.identity.api.codes import CODE_LIFE_S, RESET_LIFE_S, CodeSent
from guilder.identity.api.verifications import token_digest
from guilder.identity.service.named_jobs import SEND_CODE, NamedJobs
from guilder.identity.service.names import Named, read_name
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose
from guilder.identity.service.sealed_codes import CodePost
from guilder.identity.store import credentials
from guilder.identity.store.users import UserStore
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.identifiers import new_id
from guilder.platform.jobs import queue
from guilder.platform.jobs.held import Held
from guilder.platform.once import run_once
from guilder.platform.permissions import CUSTOMER

_WAITED_FOR: Final = timedelta(minutes=30)
"""A wish that is older is fulfilled for nobody any more."""
_TOKEN_BYTES: Final = 32
_SAID: Final = "If somebody is registered under this name, a code is on its way."
_RESET_SAID: Final = "If somebody is registered under this name, a reset token is on its way."


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
        self._jobs = NamedJobs(keys)
        self._post = CodePost(keys)
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
        named = await self._db.run(lambda tx: self._jobs.named(tx, held))
        if named is None:
            return
        account = await self._db.run(lambda tx: self._account(tx, named, purpose))
        if account is None:
            await held.commit(lambda tx: self._jobs.over(tx, held))
            return
        if purpose is Purpose.LOGIN:
            await self._send_code(held, account, named)
        else:
            await self._send_token(held, account)

    async def forget_failed(self) -> None:
        """Forget wishes that could not be fulfilled in time."""
        await queue.forget_dead(self._db, SEND_CODE, keep=_WAITED_FOR)

    async def _ask(self, purpose: Purpose, *, email: str | None, phone: str | None) -> None:
        named = read_name(email=email, phone=phone, default_region=self._default_region)
        named = named or Named(email_key=(email or phone or "").strip().casefold())
        arguments = {"purpose": purpose.value, "attempt": str(new_id())}
        await run_once(
            self._db,
            lambda tx: self._jobs.leave(
                tx, SEND_CODE, named, purpose=purpose, arguments=arguments, life=_WAITED_FOR
            ),
        )

    async def _account(self, tx: Tx, named: Named, purpose: Purpose) -> AccountView | None:
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
            await held.commit(lambda tx: self._jobs.over(tx, held))
            return
        code = await self._codes.make(Purpose.LOGIN, subject=subject, epoch=account.sign_in_epoch)
        channel = "email" if named.contact == "email" else "sms"
        life = timedelta(seconds=CODE_LIFE_S)

        async def write(tx: Tx) -> None:
            await self._post.publish(
                tx, account.user_id, Purpose.LOGIN, code=code, channel=channel, life=life
            )
            await self._jobs.over(tx, held)

        await held.commit(write)

    async def _send_token(self, held: Held, account: AccountView) -> None:
        user_id, purpose = account.user_id, Purpose.PASSWORD_RESET
        token = f"rst_{secrets.token_urlsafe(_TOKEN_BYTES)}"
        life = timedelta(seconds=RESET_LIFE_S)

        async def write(tx: Tx) -> None:
            if not await self._codes.wait_to_send(
                tx, purpose, subject=str(user_id), attempt=UUID(held.arguments["attempt"])
            ):
                await credentials.add_reset(tx, user_id, token=token_digest(token), life=life)
                await self._post.publish(
                    tx, user_id, purpose, code=token, channel="email", life=life
                )
            await self._jobs.over(tx, held)

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
