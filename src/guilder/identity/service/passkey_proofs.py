"""Hands challenges to browsers, and finds whose passkey answered one. Each is answered once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from guilder.identity.api.second_factors import InvalidPasskey
from guilder.identity.service.relying_party import CEREMONY_S, Credential, RelyingParty
from guilder.identity.store import factor_moments, passkeys, second_factors
from guilder.identity.store.factor_moments import Purpose
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Database, Tx

_CHALLENGE_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """What a passkey is asked for, and by which session; signing in has none."""

    purpose: Purpose
    session_id: SessionId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """What a browser gave back, read, with the ceremony that it answers."""

    credential: Credential
    credential_id: bytes = field(repr=False)
    challenge: bytes = field(repr=False)
    user_handle: bytes | None = field(repr=False)


class PasskeyProofs:
    """Ceremonies of one site."""

    def __init__(self, *, db: Database, site: RelyingParty) -> None:
        self._db = db
        self._site = site

    async def hand_out(self, ceremony: Ceremony) -> bytes:
        """A new challenge, good for five minutes and one answer."""
        challenge = os.urandom(_CHALLENGE_BYTES)
        await self._db.run(
            lambda tx: factor_moments.add_ceremony(
                tx,
                digest=_digest(challenge),
                purpose=ceremony.purpose,
                session_id=ceremony.session_id,
                life=timedelta(seconds=CEREMONY_S),
            )
        )
        return challenge

    async def options(self, ceremony: Ceremony, *, user_id: UserId | None) -> Mapping[str, Any]:
        """What ``navigator.credentials.get`` takes; a user's own passkeys, or any."""
        known = () if user_id is None else await self._known(user_id)
        challenge = await self.hand_out(ceremony)
        return self._site.request_options(challenge=challenge, known=known)

    def read(self, credential: Credential) -> Presentation:
        """What a browser gave back. Nothing is proven yet.

        Raises:
            InvalidPasskey: it is not what a browser gives back.
        """
        shown = self._site.presented(credential)
        return Presentation(
            credential=credential,
            credential_id=shown.credential_id,
            challenge=shown.challenge,
            user_handle=shown.user_handle,
        )

    async def close(self, tx: Tx, ceremony: Ceremony, *, challenge: bytes) -> None:
        """Use up a challenge that was handed out for this.

        Raises:
            InvalidPasskey: it was not, or too long ago, or it was answered.
        """
        if not await factor_moments.use_ceremony(
            tx,
            digest=_digest(challenge),
            purpose=ceremony.purpose,
            session_id=ceremony.session_id,
        ):
            raise InvalidPasskey

    async def holder(
        self, tx: Tx, shown: Presentation, *, challenge: bytes, user_id: UserId | None = None
    ) -> UserId:
        """Whose passkey signed ``challenge``: anybody's, or ``user_id``'s. It counts as used.

        From then on the user's factors are locked until the transaction ends.

        Raises:
            InvalidPasskey: another's or nobody's, or not for this challenge.
        """
        found = await passkeys.holder(tx, shown.credential_id)
        if found is None or user_id not in {None, found}:
            raise InvalidPasskey
        user_id = found
        await second_factors.lock(tx, user_id)
        passkey = await passkeys.to_verify(tx, shown.credential_id)
        foreign = shown.user_handle is not None and shown.user_handle != user_id.bytes
        if passkey is None or passkey.user_id != user_id or foreign:
            raise InvalidPasskey
        signed = self._site.verify_use(shown.credential, challenge=challenge, passkey=passkey)
        await passkeys.mark_used(
            tx, passkey.id, sign_count=signed.sign_count, is_synced=signed.is_synced
        )
        return user_id

    async def _known(self, user_id: UserId) -> tuple[passkeys.KnownPasskey, ...]:
        return tuple(await self._db.run(lambda tx: passkeys.known(tx, user_id)))


def _digest(challenge: bytes) -> bytes:
    return sha256(b"guilder passkey ceremony|" + challenge).digest()
