"""Sessions: opened when somebody has proved who they are, refreshed, ended, listed.

A session is a row. Its access tokens last minutes and say which one they speak for; its refresh
token is used once and replaced. Ending a session ends its tokens on their next request.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from guilder.identity.api import AccountView, InvalidCredentials, SignedIn
from guilder.identity.api.sessions import EndReason, SessionUnusable, SessionView, UserFrozen
from guilder.identity.domain import sessions as rules
from guilder.identity.domain.networks import UNKNOWN, network_of
from guilder.identity.domain.sessions import Terms, Verdict
from guilder.identity.events import (
    NewDeviceUsed,
    SeenDevice,
    SessionsEnded,
    UserLoggedIn,
)
from guilder.identity.service.access import AccessTokens
from guilder.identity.store import credentials, devices, revocations
from guilder.identity.store import sessions as store
from guilder.identity.store.sessions import NewSession, ShownToken, Use
from guilder.identity.store.users import UserStore, database_time
from guilder.kernel.errors import NotFound, Unauthenticated
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once
from guilder.platform.outbox import append, outgoing

_ERASED: Final = "erased"
_SHUT_OUT: Final = frozenset({"frozen", _ERASED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """What is written for a new session; the same however often it has to be tried."""

    session: NewSession
    account: AccountView
    device_digest: bytes | None
    remembers: tuple[UUID, bytes] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refreshed:
    verdict: Verdict
    session_id: SessionId | None = None
    account: AccountView | None = None
    secret: bytes = b""
    expires_at: datetime | None = None


class Sessions:
    """Opens, refreshes, lists and ends sessions."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        tokens: AccessTokens,
        terms: Terms | None = None,
    ) -> None:
        self._db = db
        self._users = users
        self._tokens = tokens
        self._terms = terms or Terms()

    async def open(
        self,
        account: AccountView,
        *,
        user_agent: str | None,
        client_address: str,
        methods: tuple[str, ...],
        device_token: str | None = None,
        remember_device: bool = False,
    ) -> SignedIn:
        """Open a session for an account whose holder has proved to be it by ``methods``.

        ``account`` is as it was read **before** the proof was checked: if the user's sessions
        were ended since (another password, a freeze), the proof is void. ``methods`` are RFC 8176
        values: pwd, otp, mfa, hwk, fed. ``device_token`` is what a device was remembered by;
        with ``remember_device`` a device that has none gets one.

        Raises:
            UserFrozen: staff have frozen the user.
            InvalidCredentials: what was proved counts no more.
        """
        key = await self._tokens.key()
        secret = secrets.token_bytes(rules.SECRET_BYTES)
        known = None if device_token is None else rules.read_device_token(device_token)
        fresh = secrets.token_bytes(rules.SECRET_BYTES) if remember_device else None
        opening = _Opening(
            session=NewSession(
                id=SessionId(new_id()),
                account_id=account.id,
                user_agent=user_agent,
                client_address=client_address,
                methods=methods,
                refresh_digest=rules.digest(secret),
            ),
            account=account,
            device_digest=None if known is None else rules.digest(known),
            remembers=None if fresh is None else (new_id(), rules.digest(fresh)),
        )
        ends, is_known = await self._db.run(lambda tx: self._write(tx, opening))
        token = device_token if is_known else None
        if fresh is not None and not is_known:
            token = rules.spelled_device(fresh)
        return self._tokens.signed_in(
            account,
            session_id=opening.session.id,
            key=key,
            refresh_token=rules.spelled(secret),
            refresh_expires_at=ends,
            device_token=token,
        )

    async def refresh(
        self, refresh_token: str, *, user_agent: str | None, client_address: str
    ) -> SignedIn:
        """A new access token and the next refresh token for whoever has the current one.

        Asking again within `guilder.identity.domain.sessions.GRACE` because the answer was lost
        gives the same next token, until that has been used. Any later repetition ends the session.

        Raises:
            SessionUnusable: the token is none, is over, or was used before.
        """
        secret = rules.read_refresh_token(refresh_token)
        if secret is None:
            raise SessionUnusable
        key = await self._tokens.key()
        salt = secrets.token_bytes(rules.SECRET_BYTES)
        done = await self._db.run(
            lambda tx: self._rotate(
                tx, secret, salt=salt, user_agent=user_agent, client_address=client_address
            )
        )
        if done.account is None or done.session_id is None or done.expires_at is None:
            raise SessionUnusable
        return self._tokens.signed_in(
            done.account,
            session_id=done.session_id,
            key=key,
            refresh_token=rules.spelled(done.secret),
            refresh_expires_at=done.expires_at,
        )

    async def page(
        self, *, user_id: UserId, after: SessionId | None, limit: int
    ) -> Sequence[SessionView]:
        """The sessions of all of a user's accounts that go on, newest first."""
        async with self._db.reading() as tx:
            return await store.live(tx, user_id=user_id, after=after, limit=limit)

    async def end_one(self, session_id: SessionId, *, user_id: UserId, reason: EndReason) -> None:
        """End one of a user's sessions. One that has ended stays as it is.

        Raises:
            NotFound: the user has no such session.
        """

        async def work(tx: Tx) -> bool:
            if not await store.lock_one(tx, session_id=session_id, user_id=user_id):
                return False
            await _end(tx, [session_id], user_id=user_id, reason=reason)
            return True

        if not await run_once(self._db, work):
            raise NotFound

    async def end_all(self, *, user_id: UserId) -> int:
        """Sign a user out everywhere, and forget their remembered devices; how many sessions."""
        return await run_once(
            self._db, lambda tx: self.end(tx, user_id=user_id, reason=EndReason.LOGOUT_EVERYWHERE)
        )

    async def end(
        self,
        tx: Tx,
        *,
        user_id: UserId,
        keep: SessionId | None = None,
        reason: EndReason,
        sparing: bytes | None = None,
    ) -> int:
        """End the sessions of all of a user's accounts, but for ``keep``; how many there were.

        The user's row is locked first, so call this before any other lock on sessions. Sign-ins
        under way, whose password or code was checked before, open no session any more, nor do
        codes that were sent before. Without ``keep``, remembered devices are forgotten, too, and
        reset tokens, but for the one whose digest is ``sparing``.

        Raises:
            Unauthenticated: the user is erased, or ``keep`` has ended; what either did is void.
        """
        status = await store.void_sign_ins(tx, user_id)
        # Whoever erased the user, or ended the session, may be whom we have just waited for.
        if status == _ERASED or (keep is not None and not await store.is_live(tx, keep)):
            raise Unauthenticated
        if keep is None:
            await devices.forget_remembered(tx, user_id)
            await credentials.void_resets(tx, user_id, but=sparing)
        found = await store.lock_all(tx, user_id=user_id, keep=keep)
        return await _end(tx, found, user_id=user_id, reason=reason)

    async def forget(self, tx: Tx, *, user_id: UserId) -> None:
        """End a user's sessions and delete where and with what they signed in, for an erasure."""
        await self.end(tx, user_id=user_id, reason=EndReason.ERASED)
        await store.forget(tx, user_id)
        await devices.forget(tx, user_id)

    async def _write(self, tx: Tx, opening: _Opening) -> tuple[datetime, bool]:
        account, session = opening.account, opening.session
        held = await store.hold_user(tx, account.user_id)
        if held is None or held.epoch != account.sign_in_epoch:
            raise InvalidCredentials
        if held.status in _SHUT_OUT:
            raise UserFrozen
        at = await database_time(tx)
        ends = self._terms.ends(used_at=at, started_at=at)
        is_known = opening.device_digest is not None and await devices.use_remembered(
            tx, digest=opening.device_digest, user_id=account.user_id, at=at
        )
        if not await store.add_session(tx, session, started_at=at, expires_at=ends):
            return ends, is_known
        if opening.remembers is not None and not is_known:
            device_id, digest = opening.remembers
            await devices.remember(
                tx, device_id=device_id, digest=digest, user_id=account.user_id, at=at
            )
        await _publish_sign_in(tx, opening, at=at, is_known=is_known)
        return ends, is_known

    async def _rotate(
        self, tx: Tx, secret: bytes, *, salt: bytes, user_agent: str | None, client_address: str
    ) -> _Refreshed:
        digest = rules.digest(secret)
        found = await store.shown_token(tx, digest)
        if found is None:
            return _Refreshed(verdict=Verdict.OVER)
        account = await self._users.account(tx, found.account_id)
        verdict = rules.judge(found.shown, at=found.at)
        if account is None or account.status in _SHUT_OUT:
            verdict = Verdict.OVER
        if verdict is Verdict.STOLEN:
            await _end(
                tx, [found.session_id], user_id=found.user_id, reason=EndReason.REFRESH_REUSED
            )
        if verdict in {Verdict.OVER, Verdict.STOLEN}:
            return _Refreshed(verdict=verdict)
        if verdict is Verdict.REPEAT and found.salt is not None:
            return _next(found, account, secret=rules.successor(secret, salt=found.salt))
        follower = rules.successor(secret, salt=salt)
        use = Use(
            at=found.at,
            expires_at=self._terms.ends(used_at=found.at, started_at=found.started_at),
            user_agent=user_agent,
            client_address=client_address,
        )
        await store.rotate(
            tx,
            digest=digest,
            salt=salt,
            successor=rules.digest(follower),
            session_id=found.session_id,
            use=use,
        )
        return _next(found, account, secret=follower, expires_at=use.expires_at)


def _next(
    found: ShownToken,
    account: AccountView | None,
    *,
    secret: bytes,
    expires_at: datetime | None = None,
) -> _Refreshed:
    return _Refreshed(
        verdict=Verdict.ROTATE,
        session_id=found.session_id,
        account=account,
        secret=secret,
        expires_at=expires_at or found.session_ends,
    )


async def _end(
    tx: Tx, session_ids: Sequence[SessionId], *, user_id: UserId, reason: EndReason
) -> int:
    """End locked sessions: their rows, their tokens, and the word of it."""
    ended = await store.end(tx, session_ids, reason=reason)
    if not ended:
        return 0
    await revocations.end_sessions(tx, ended)
    event = SessionsEnded(
        user_id=user_id,
        session_ids=tuple(ended),
        reason=reason.value,
        ended_at=await database_time(tx),
    )
    await append(tx, [outgoing(event, key=str(user_id))])
    return len(ended)


async def _publish_sign_in(tx: Tx, opening: _Opening, *, at: datetime, is_known: bool) -> None:
    account, session = opening.account, opening.session
    program = rules.program_of(session.user_agent)
    network = network_of(session.client_address)
    place = rules.place_of(program, network=network)
    is_new = await devices.use_place(
        tx, user_id=account.user_id, place=place, program=program, at=at
    )
    key = str(account.user_id)
    events = [
        outgoing(
            UserLoggedIn(
                user_id=account.user_id,
                account_id=account.id,
                account_type=account.account_type.value,
                session_id=session.id,
                logged_in_at=at,
                device=program,
                methods=session.methods,
            ),
            key=key,
        )
    ]
    if is_new and not is_known:
        seen = NewDeviceUsed(
            user_id=account.user_id,
            account_id=account.id,
            account_type=account.account_type.value,
            session_id=session.id,
            used_at=at,
            personal=SeenDevice(
                device=rules.device_of(session.user_agent),
                network=None if network == UNKNOWN else network,
            ),
        )
        events.append(outgoing(seen, key=key))
    await append(tx, events)
