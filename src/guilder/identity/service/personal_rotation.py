"""The keys of personal data are changed while everybody goes on working, a few users at a time.

Every step looks for what is left to do, so it can be killed anywhere and called again. Processes
that serve meanwhile take each user's key from the database with the user, and learn of new files
in the key folder by themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from guilder.identity.api.personal_data import Rotated
from guilder.identity.domain.applicants import email_key
from guilder.identity.store import person_keys, personal_rows
from guilder.identity.store.person_keys import PersonalKeys
from guilder.identity.store.personal_rows import Fields, PlainUser, Rotation
from guilder.kernel.ids import UserId
from guilder.platform import failpoints
from guilder.platform.db import Database, Tx, rows_done, savepoint

AFTER_BATCH: Final = failpoints.declare(
    "identity.after_rotated_batch", "Some users have their new keys; the others follow."
)
Report = Callable[[str, int], None]
_Find = Callable[[Tx, UserId], Awaitable[Sequence[UserId]]]
_Change = Callable[[Tx, UserId], Awaitable[bool]]

_log = structlog.get_logger("guilder.identity")
_BEFORE_ALL: Final = UserId(UUID(int=0))
_LOCK: Final = "identity.personal_rotation"
_SEALED_AFTER_S: Final = 3600.0


class _Taken(Exception):
    """Somebody else was registered with the same email or phone in the meantime."""


class RotatePersonalKeys:
    """The `guilder.identity.api.personal_data.PersonalRotation` of one database and key folder."""

    def __init__(self, db: Database, *, keys: PersonalKeys, at_once: int = 100) -> None:
        self._db = db
        self._keys = keys
        self._most = at_once

    async def prepare(self, *, new_keys: bool = False) -> UUID:
        """Make the new keys, and change nothing yet: the id of both.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        async with self._db.exclusively(_LOCK):
            return (await self._begin(new_keys=new_keys)).id

    async def rotate(self, *, new_keys: bool = False, report: Report | None = None) -> Rotated:
        """Change all keys, or go on with the change that was prepared or interrupted.

        ``new_keys`` gives everybody a new key and encrypts all fields anew; otherwise each
        person's key is kept, and wrapped by the new outer key. ``report`` is told how many users
        a step is through with.

        Raises:
            KeyUnusable: a key's file is damaged.
            Unreadable: somebody's key or data was changed behind Guilder's back.
        """
        tell = report or _silent
        async with self._db.exclusively(_LOCK):
            rotation = await self._begin(new_keys=new_keys)
            await self._db.run(lambda tx: person_keys.use_index_key(tx, rotation.id))
            sealed, left = await self._seal_all(tell)
            reindexed, unfound = await self._reindex(rotation, tell)
            rewrapped = await self._rewrap(tell)
            resealed = await self._reseal(rotation, tell) if new_keys or rotation.new_keys else 0
            if not unfound:
                await self._db.run(lambda tx: personal_rows.finish_rotation(tx, rotation.id))
        return Rotated(
            sealed=sealed,
            reindexed=reindexed,
            rewrapped=rewrapped,
            resealed=resealed,
            left=left,
            unfound=unfound,
        )

    async def seal_those_before(self) -> None:
        """Encrypt users from before there were keys of persons.

        Not in the first hour after the migration: processes of the release before, which read no
        encrypted user, are given time to go.
        """
        if not await self._db.run(lambda tx: personal_rows.is_migrated_for(tx, _SEALED_AFTER_S)):
            return
        async with self._db.exclusively(_LOCK):
            sealed, left = await self._seal_all(_silent)
        if sealed or left:
            _log.info("identity.users_encrypted", users=sealed, left=left)

    async def _begin(self, *, new_keys: bool) -> Rotation:
        rotation = await self._db.run(
            lambda tx: personal_rows.begin_rotation(tx, new_keys=new_keys)
        )
        self._keys.add_outer_key(rotation.id)
        self._keys.add_index_key(rotation.id)
        return rotation

    async def _seal_all(self, report: Report) -> tuple[int, int]:
        sealed = left = 0
        after: UserId | None = _BEFORE_ALL
        while after is not None:
            done, failed, after = await self._db.run(partial(self._seal, after=after))
            sealed, left = sealed + done, left + failed
            if done or failed:
                report("encrypted", sealed)
            await failpoints.reach(AFTER_BATCH)
        return sealed, left

    async def _seal(self, tx: Tx, *, after: UserId) -> tuple[int, int, UserId | None]:
        """Encrypt some users: how many, how many could not be, and the last of them."""
        users = await personal_rows.in_clear(tx, after=after, most=self._most)
        failed = 0
        for user in users:
            try:
                async with savepoint(tx):
                    await self._seal_one(tx, user)
            except _Taken:
                failed += 1
                _log.error("identity.user_registered_twice", user_id=str(user.id))
        return len(users) - failed, failed, users[-1].id if users else None

    async def _seal_one(self, tx: Tx, user: PlainUser) -> None:
        made = self._keys.make(user.id)
        await person_keys.add_key(tx, user.id, made)
        claimed = await person_keys.claim_contacts(
            tx, user.id, keys=self._keys, email_key=user.email_key, phone=user.phone
        )
        if not claimed:
            raise _Taken
        await personal_rows.write_sealed(tx, user.id, user, key=made.key)

    async def _reindex(self, rotation: Rotation, report: Report) -> tuple[int, int]:
        """Have everybody found by the new index: how many are now, and how many cannot be.

        While there is one who cannot, the index before stays: by what else would they sign in?
        """
        unfound: set[UserId] = set()

        async def index(tx: Tx, user_id: UserId) -> bool:
            fields = await self._locked(tx, user_id)
            if fields is None or fields.email is None:
                return False
            claimed = await person_keys.claim_contacts(
                tx,
                user_id,
                keys=self._keys,
                email_key=email_key(fields.email),
                phone=fields.phone,
            )
            if not claimed:
                unfound.add(user_id)
                _log.error("identity.user_registered_twice", user_id=str(user_id))
            return claimed

        reindexed = await self._each(
            lambda tx, after: personal_rows.not_indexed(
                tx, rotation.id, after=after, most=self._most
            ),
            index,
            report=lambda users: report("found by the new index", users),
        )
        if unfound:
            return reindexed, len(unfound)
        await self._db.run(lambda tx: person_keys.use_index_key_alone(tx, rotation.id))
        while rows_done(
            await self._db.run(
                lambda tx: person_keys.drop_digests_not_of(tx, rotation.id, most=1000)
            )
        ):
            await failpoints.reach(AFTER_BATCH)
        return reindexed, 0

    async def _rewrap(self, report: Report) -> int:
        newest = self._keys.newest_outer_id

        async def wrap(tx: Tx, user_id: UserId) -> bool:
            key = await person_keys.lock_key(tx, user_id)
            if key is None or key["wrapped"] is None:
                return False
            wrapped = self._keys.rewrap(user_id, id=key["id"], wrapped=key["wrapped"])
            await person_keys.put_wrapped(tx, user_id, wrapped)
            return True

        return await self._each(
            lambda tx, after: personal_rows.wrapped_otherwise(
                tx, newest, after=after, most=self._most
            ),
            wrap,
            report=lambda users: report("with their keys wrapped anew", users),
        )

    async def _reseal(self, rotation: Rotation, report: Report) -> int:
        async def seal(tx: Tx, user_id: UserId) -> bool:
            fields = await self._locked(tx, user_id)
            if fields is None:
                return False
            made = self._keys.make(user_id)
            await person_keys.put_key(tx, user_id, made)
            await personal_rows.write_sealed(tx, user_id, fields, key=made.key)
            return True

        moment = rotation.started_at
        return await self._each(
            lambda tx, after: personal_rows.with_key_made_before(
                tx, moment, after=after, most=self._most
            ),
            seal,
            report=lambda users: report("encrypted again", users),
        )

    async def _each(self, find: _Find, change: _Change, *, report: Callable[[int], None]) -> int:
        """Change each user that ``find`` finds, some in a transaction; how many."""
        changed, after = 0, _BEFORE_ALL

        async def batch(tx: Tx) -> tuple[int, UserId | None]:
            users = await find(tx, after)
            done = [await change(tx, user_id) for user_id in users]
            return sum(done), users[-1] if users else None

        while True:
            done, last = await self._db.run(batch)
            if last is None:
                return changed
            changed, after = changed + done, last
            report(changed)
            await failpoints.reach(AFTER_BATCH)

    async def _locked(self, tx: Tx, user_id: UserId) -> Fields | None:
        """What is personal of a user, under both locks; None: erased, or in clear."""
        row = await personal_rows.lock_sealed(tx, user_id)
        key = None if row is None else await person_keys.lock_key(tx, user_id)
        if row is None or key is None or key["wrapped"] is None:
            return None
        opened = self._keys.open(user_id, id=key["id"], wrapped=key["wrapped"])
        return personal_rows.read_sealed(row, user_id, key=opened)


def _silent(step: str, users: int) -> None:
    """Say nothing of a step's progress."""
