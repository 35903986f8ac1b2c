"""A user adds passkeys, names them, removes them, and signs in with one and nothing else.

A passkey asks its owner for a finger, a face or a PIN, so it is two factors in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from guilder.identity.api import AccountType, AccountView, SignedIn
from guilder.identity.api.passkeys import AddedPasskey, PasskeyView
from guilder.identity.api.second_factors import (
    AlreadyEnrolled,
    Asker,
    Device,
    Factor,
    InvalidPasskey,
    TooManyPasskeys,
)
from guilder.identity.api.sessions import EndReason
from guilder.identity.domain.applicants import Malformed, read_full_name
from guilder.identity.events import SecondFactorAdded
from guilder.identity.service.passkey_proofs import Ceremony, PasskeyProofs, Presentation
from guilder.identity.service.relying_party import Credential, RelyingParty
from guilder.identity.service.second_factor_codes import (
    give_first_codes,
    new_recovery_codes,
    take_last_codes,
)
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.step_up import StepUp
from guilder.identity.service.totp_enrollment import publish_removal
from guilder.identity.store import passkeys, second_factors
from guilder.identity.store.factor_moments import Purpose
from guilder.identity.store.passkeys import NewPasskey
from guilder.identity.store.users import UserStore
from guilder.kernel.errors import NotFound, Unauthenticated, ValidationFailed
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once
from guilder.platform.outbox import append, outgoing

MOST_PASSKEYS: Final = 20
SIGN_IN_METHODS: Final = ("hwk", "mfa")
_SIGN_IN: Final = Ceremony(purpose=Purpose.SIGN_IN)


class Passkeys:
    """Passkeys of users, for one site."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        sessions: Sessions,
        proofs: PasskeyProofs,
        site: RelyingParty,
        step_up: StepUp,
    ) -> None:
        self._db = db
        self._users = users
        self._sessions = sessions
        self._proofs = proofs
        self._site = site
        self._step_up = step_up

    async def registration_options(self, asker: Asker) -> Mapping[str, Any]:
        """What the browser makes a passkey from.

        Raises:
            StepUpRequired: the session began too long ago and has not proved itself since.
            TooManyPasskeys: the user has twenty.
            Unauthenticated: there is no such account any more.
        """

        async def look(tx: Tx) -> tuple[AccountView, Sequence[passkeys.KnownPasskey]]:
            await self._step_up.require_recent(tx, asker)
            account = await self._users.account(tx, asker.account_id)
            if account is None:
                raise Unauthenticated
            return account, await _room_beside(tx, asker)

        account, known = await self._db.run(look)
        challenge = await self._proofs.hand_out(_registering(asker))
        return self._site.creation_options(account, challenge=challenge, known=known)

    async def register(self, asker: Asker, *, credential: Credential, name: str) -> AddedPasskey:
        """Keep the passkey that the browser has made. Signing in asks for it from now on.

        Raises:
            ValidationFailed: the name is not a line of text.
            InvalidPasskey: it was not made for this session, or not lately.
            AlreadyEnrolled: it is known.
            TooManyPasskeys: the user has twenty.
        """
        label = _readable(name)
        shown = self._proofs.read(credential)
        made = self._site.verify_new(credential, challenge=shown.challenge)
        if made.id != shown.credential_id:
            raise InvalidPasskey
        fresh = new_recovery_codes(asker.user_id)
        passkey = NewPasskey(
            id=new_id(),
            user_id=asker.user_id,
            credential_id=made.id,
            public_key=made.public_key,
            sign_count=made.sign_count,
            is_synced=made.is_synced,
            transports=made.transports,
            name=label,
        )

        async def work(tx: Tx) -> AddedPasskey:
            await second_factors.lock(tx, asker.user_id)
            await self._proofs.close(tx, _registering(asker), challenge=shown.challenge)
            await _room_beside(tx, asker)
            view = await passkeys.add(tx, passkey)
            if view is None:
                raise AlreadyEnrolled
            given = await give_first_codes(tx, asker.user_id, fresh)
            event = SecondFactorAdded(
                user_id=asker.user_id, factor=Factor.PASSKEY.value, added_at=view.added_at
            )
            await append(tx, [outgoing(event, key=str(asker.user_id))])
            await self._end_others(tx, asker)
            return AddedPasskey(passkey=view, recovery_codes=fresh.texts if given else None)

        return await run_once(self._db, work)

    async def list(self, asker: Asker) -> Sequence[PasskeyView]:
        """The user's passkeys, oldest first."""
        return await self._db.run(lambda tx: passkeys.of_user(tx, asker.user_id))

    async def remove(self, asker: Asker, *, passkey_id: UUID) -> None:
        """Sign in with this passkey no more. It takes a step-up by a factor.

        Raises:
            NotFound: the user has no such passkey.
            StepUpRequired: no factor was proved just now.
        """

        async def work(tx: Tx) -> None:
            await second_factors.lock(tx, asker.user_id)
            if not await passkeys.remove(tx, passkey_id, user_id=asker.user_id):
                raise NotFound
            await self._step_up.require_factor(tx, asker, otp=None)
            await take_last_codes(tx, asker.user_id)
            await publish_removal(tx, asker.user_id, factor=Factor.PASSKEY)
            await self._end_others(tx, asker)

        await run_once(self._db, work)

    async def sign_in_options(self) -> Mapping[str, Any]:
        """What the browser asks any passkey of this site for. It tells nothing about anybody."""
        return await self._proofs.options(_SIGN_IN, user_id=None)

    async def sign_in(
        self,
        *,
        credential: Credential,
        account_type: AccountType | None,
        device: Device,
    ) -> SignedIn:
        """Open a session for whoever's passkey signed.

        Raises:
            InvalidPasskey: nobody's did, or not what was asked for, or they may not sign in.
        """
        shown = self._proofs.read(credential)
        if shown.user_handle is None:
            raise InvalidPasskey

        async def work(tx: Tx) -> AccountView | None:
            # read before the proof is checked: what ends sessions meanwhile voids the proof
            account = await self._account_behind(tx, shown, account_type=account_type)
            await self._proofs.close(tx, _SIGN_IN, challenge=shown.challenge)
            await self._proofs.holder(tx, shown, challenge=shown.challenge)
            return account

        account = await run_once(self._db, work)
        if account is None:
            raise InvalidPasskey
        return await self._sessions.open(
            account,
            user_agent=device.user_agent,
            client_address=device.client_address,
            methods=SIGN_IN_METHODS,
            device_token=device.token,
            remember_device=device.wants_to_be_remembered,
        )

    async def _account_behind(
        self, tx: Tx, shown: Presentation, *, account_type: AccountType | None
    ) -> AccountView | None:
        user_id = await passkeys.holder(tx, shown.credential_id)
        if user_id is None:
            return None
        account_id = await passkeys.account_of(tx, user_id, account_type=account_type)
        return None if account_id is None else await self._users.account(tx, account_id)

    async def _end_others(self, tx: Tx, asker: Asker) -> None:
        await self._sessions.end(
            tx, user_id=asker.user_id, keep=asker.session_id, reason=EndReason.FACTORS_CHANGED
        )


def _registering(asker: Asker) -> Ceremony:
    return Ceremony(purpose=Purpose.REGISTER, session_id=asker.session_id)


async def _room_beside(tx: Tx, asker: Asker) -> Sequence[passkeys.KnownPasskey]:
    known = await passkeys.known(tx, asker.user_id)
    if len(known) >= MOST_PASSKEYS:
        raise TooManyPasskeys
    return known


def _readable(name: str) -> str:
    try:
        return read_full_name(name)
    except Malformed as problem:
        raise ValidationFailed(fields={"name": str(problem)}) from None
