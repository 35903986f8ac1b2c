"""Operations are verified: begun, confirmed with the code of the user-admin portal, and spent.

Tries are counted under the row's lock, so that guessing in parallel gains nothing. A token is
derived from the verification, its code and a key outside the database: entering the right code
again answers the same token, though the code is wiped once it was right.
"""

from __future__ import annotations

import hmac
import math
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from guilder.identity.api import AccountType
from guilder.identity.api.second_factors import InvalidOtp
from guilder.identity.api.verifications import (
    CODE_LIFE_S,
    Asked,
    TooManyVerifications,
    VerificationExpired,
    VerificationId,
    VerificationNeeded,
    VerificationNotFound,
    token_digest,
)
from guilder.identity.domain.verifications import (
    Standing,
    Status,
    Verdict,
    judge,
    parameters_digest,
)
from guilder.identity.events import (
    VerificationConcluded,
    VerificationRequested,
)
from guilder.identity.service.code_stores import CodeStore
from guilder.identity.service.methods import COUNTING
from guilder.identity.service.sealed_codes import CodePost, new_code
from guilder.identity.store import verifications as store
from guilder.identity.store.users import database_time
from guilder.identity.store.verifications import Asker
from guilder.kernel.errors import NotPermitted, Refusal
from guilder.kernel.ids import SessionId, UserId
from guilder.platform import ephemeral
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys, Unreadable, place
from guilder.platform.identifiers import new_id
from guilder.platform.once import run_once
from guilder.platform.outbox import append, outgoing

_IN_PORTAL: Final = "Please complete OTP verification via User-Admin portal"
_BY_EMAIL: Final = "Please complete OTP verification with the code that was sent by email"
_LIFE: Final = timedelta(seconds=CODE_LIFE_S)
_FOR_ANOTHER: Final = timedelta(seconds=60)
"""A verification that ends sooner than this is not answered again; a new one is begun."""
_KEPT: Final = timedelta(days=1)
_BOUNDS: Final = store.Bounds(
    unfinished=20,
    unfinished_within=timedelta(hours=1),
    # Of a million: whoever stole a session guesses no further.
    wrong=100,
    wrong_within=_KEPT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a right code gives: a token to spend once, until it expires."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A pending verification with its code, as the user-admin account sees it."""

    pending: store.Pending
    code: str = field(repr=False)


class Verifying:
    """Begins, shows, confirms and cancels verifications."""

    def __init__(self, *, db: Database, keys: OuterKeys, codes: CodeStore) -> None:
        self._db = db
        self._keys = keys
        self._codes = codes
        self._post = CodePost(keys)

    async def demand(self, asked: Asked) -> VerificationNeeded:
        """The verification that has to be completed before ``asked`` is done.

        Asking again for the same while it waits answers the same one.

        Raises:
            NotPermitted: the account is nobody's who could verify anything.
            TooManyVerifications: too many were begun and not completed, or codes wrong, in
                this session; those that a code or a provider opened, and programs, count as one.
            Overloaded: the store of codes does not answer.
        """
        asker = await self._db.run(lambda tx: store.who_asks(tx, asked.account_id))
        if asker is None or asker.account_type == AccountType.USER_ADMIN:
            raise NotPermitted
        waiting = await self._db.run(lambda tx: _waiting(tx, asker, asked))
        if waiting is None or await self._is_lost(waiting.id):
            waiting = await self._begin(asker, asked)
        message = _BY_EMAIL if asker.portal_id is None else _IN_PORTAL
        return VerificationNeeded(
            verification_id=waiting.id, message=message, expires_at=waiting.expires_at
        )

    async def pending(self, portal_id: UserId) -> list[Shown]:
        """What waits for the user behind a user-admin account, with the codes, newest first.

        Raises:
            Overloaded: the store of codes does not answer.
        """
        found = await self._db.run(lambda tx: store.pending(tx, portal_id))
        sealed = await self._codes.read([_name(pending.id) for pending in found])
        shown = [(pending, self._open(pending.id, sealed)) for pending in found]
        return [Shown(pending=pending, code=code) for pending, code in shown if code is not None]

    async def verify(self, account_id: UserId, *, verification_id: UUID, code: str) -> Proof:
        """Confirm with the code, and get the token that the operation is repeated with.

        Raises:
            VerificationNotFound: there is none, or it is another account's.
            InvalidOtp: the code is wrong; ``details["tries_left"]`` says how often it may be.
            VerificationExpired: it is over: too late, cancelled, tried too often, or used; or the
                store has lost its code.
            Overloaded: the store of codes does not answer.
        """
        sealed = await self._codes.read([_name(verification_id)])
        right = self._open(verification_id, sealed)
        is_right = None if right is None else hmac.compare_digest(right, code)
        token = self._token(verification_id, code)
        verdict, expires_at = await run_once(
            self._db,
            lambda tx: _attempt(
                tx, account_id, id_=verification_id, token=token, is_right=is_right
            ),
        )
        if verdict.status is not Status.PENDING and sealed:
            await self._wipe([verification_id])
        if verdict.is_right:
            return Proof(token=token, expires_at=expires_at)
        if verdict.is_wrong:
            raise InvalidOtp(tries_left=verdict.tries_left)
        raise VerificationExpired(status=verdict.status.value)

    async def cancel(self, account_id: UserId, *, verification_id: UUID) -> None:
        """Give a verification up, its token too. The user's other accounts may as well.

        Raises:
            VerificationNotFound: there is none, or it is another user's.
            VerificationExpired: it is over, otherwise than by this.
            Overloaded: the store of codes does not answer.
        """
        await self._db.run(lambda tx: _cancel(tx, account_id, id_=verification_id))
        await self._wipe([verification_id])

    async def wipe(self, ended: Sequence[VerificationId]) -> None:
        """Remove the codes of verifications that were ended elsewhere.

        Raises:
            Overloaded: the store of codes does not answer.
        """
        if ended:
            await self._wipe(ended)

    async def clear(self) -> None:
        """End what was not completed in time; forget what ended a day ago; wipe codes."""
        await self._db.run(store.expire)
        await self._codes.clear()
        await self._db.run(lambda tx: store.forget(tx, after=_KEPT))

    async def _begin(self, asker: Asker, asked: Asked) -> store.Waiting:
        id_ = VerificationId(new_id())
        code = new_code()
        sealed = self._keys.wrap(code.encode(), at=_place(id_))
        await self._codes.put(_name(id_), secret=sealed, life_s=CODE_LIFE_S)
        begun = await self._db.run(lambda tx: self._write(tx, id_, asker, asked, code))
        if isinstance(begun, Refusal) or begun.id != id_:
            await self._codes.drop([_name(id_)])
        if isinstance(begun, Refusal):
            raise begun
        return begun

    async def _write(
        self, tx: Tx, id_: VerificationId, asker: Asker, asked: Asked, code: str
    ) -> store.Waiting | TooManyVerifications:
        await store.wait_for_turn(tx, asker.user_id)
        waiting = await _waiting(tx, asker, asked)
        if waiting is not None:  # somebody else's, or this one, whose commit was not heard of
            return waiting
        session_id = await store.counting_session(tx, asked.session_id, by=COUNTING)
        wait = await store.wait(tx, asker.user_id, session_id=session_id, bounds=_BOUNDS)
        if wait > timedelta(0):
            return TooManyVerifications(retry_after_s=math.ceil(wait.total_seconds()))
        if asker.portal_id is None:
            await self._post.publish(
                tx, asker.user_id, "verification", code=code, channel="email", life=_LIFE, id_=id_
            )
        return await _add(tx, id_, asker, asked, session_id=session_id)

    async def _wipe(self, ids: Sequence[UUID]) -> None:
        """Remove codes from where they are kept, and open for nobody what carries them."""
        await self._codes.drop([_name(id_) for id_ in ids])
        await self._db.run(lambda tx: ephemeral.forget(tx, ids))

    async def _is_lost(self, id_: VerificationId) -> bool:
        """Whether the store has lost the code of a verification that waits; it has ended then."""
        if self._open(id_, await self._codes.read([_name(id_)])) is not None:
            return False
        await self._db.run(lambda tx: _give_up(tx, id_))
        return True

    def _open(self, id_: UUID, sealed: Mapping[str, bytes]) -> str | None:
        found = sealed.get(_name(id_))
        if found is None:
            return None
        try:
            return self._keys.unwrap(found, at=_place(id_)).decode()
        except Unreadable:
            return None

    def _token(self, id_: UUID, code: str) -> str:
        halves = (self._keys.pseudonym(f"verification|{half}|{id_}|{code}") for half in "ab")
        return "ver_" + urlsafe_b64encode(b"".join(half.bytes for half in halves)).decode().rstrip(
            "="
        )


def _name(id_: UUID) -> str:
    return f"verification:{id_}"


def _place(id_: UUID) -> bytes:
    return place("identity.verifications", column="code", row=id_)


async def _waiting(tx: Tx, asker: Asker, asked: Asked) -> store.Waiting | None:
    return await store.waiting(
        tx,
        asker.user_id,
        account_id=asked.account_id,
        operation=asked.operation,
        parameters=parameters_digest(asked.operation, asked.parameters),
        for_another=_FOR_ANOTHER,
    )


async def _add(
    tx: Tx, id_: VerificationId, asker: Asker, asked: Asked, *, session_id: SessionId | None
) -> store.Waiting:
    created_at, expires_at = await store.add(
        tx,
        id_,
        user_id=asker.user_id,
        account_id=asked.account_id,
        session_id=session_id,
        operation=asked.operation,
        parameters=parameters_digest(asked.operation, asked.parameters),
        shown=asked.shown,
        life=_LIFE,
    )
    requested = VerificationRequested(
        verification_id=id_,
        user_id=asker.user_id,
        account_id=asked.account_id,
        operation=asked.operation.value,
        requested_at=created_at,
        expires_at=expires_at,
    )
    await append(tx, [outgoing(requested, key=str(asker.user_id))])
    return store.Waiting(id=id_, expires_at=expires_at)


async def _attempt(
    tx: Tx, account_id: UserId, *, id_: UUID, token: str, is_right: bool | None
) -> tuple[Verdict, datetime]:
    before = await store.locked(tx, id_)
    if before is None:
        raise VerificationNotFound
    if before.account_id != account_id:
        raise VerificationNotFound.of_another()
    now = await database_time(tx)
    verdict = judge(before, token=token, code_is_right=is_right, now=now)
    if (verdict.status, verdict.tries) == (before.status, before.tries):
        return verdict, before.expires_at
    is_new = verdict.is_right
    expires_at = await store.write_verdict(
        tx,
        id_,
        status=verdict.status,
        tries=verdict.tries,
        token=token_digest(token) if is_new else before.token_digest,
        life=_LIFE if is_new else None,
    )
    if verdict.status in {Status.VERIFIED, Status.EXHAUSTED} and verdict.status != before.status:
        await _tell(tx, id_, before, status=verdict.status, at=now)
    return verdict, expires_at


async def _give_up(tx: Tx, id_: VerificationId) -> None:
    """End a verification that nobody can complete. One that was completed meanwhile stays."""
    before = await store.locked(tx, id_)
    if before is not None and before.status is Status.PENDING:
        await store.write_verdict(tx, id_, status=Status.EXPIRED, tries=before.tries, token=None)


async def _cancel(tx: Tx, account_id: UserId, *, id_: UUID) -> None:
    before = await store.locked(tx, id_)
    if before is None:
        raise VerificationNotFound
    if before.user_id != await store.owner(tx, account_id):
        raise VerificationNotFound.of_another()
    now = await database_time(tx)
    if before.status is Status.CANCELLED:
        return
    if not before.status.is_open or now >= before.expires_at:
        status = Status.EXPIRED if before.status.is_open else before.status
        raise VerificationExpired(status=status.value)
    await store.write_verdict(
        tx, id_, status=Status.CANCELLED, tries=before.tries, token=before.token_digest
    )
    await _tell(tx, id_, before, status=Status.CANCELLED, at=now)


async def _tell(tx: Tx, id_: UUID, before: Standing, *, status: Status, at: datetime) -> None:
    concluded = VerificationConcluded(
        verification_id=id_,
        user_id=before.user_id,
        operation=before.operation.value,
        status=status.value,
        concluded_at=at,
    )
    await append(tx, [outgoing(concluded, key=str(before.user_id))])
