"""Machine clients in the hands of their users and of staff: made, listed, given new secrets, ended.

A user's client acts in the user's name, with no more than the user has at any moment. One that
staff make for a program of the house acts in its own name, with what was given to it. Deleting a
client, or renewing its tokens, acts on the next request of whoever has one.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from guilder.identity.api.clients import (
    ClientNotFound,
    ClientView,
    ClientWithSecret,
    TooManyClients,
)
from guilder.identity.api.roles import BeyondOwnPermissions
from guilder.identity.api.second_factors import Asker
from guilder.identity.domain import clients as rules
from guilder.identity.events import (
    ClientAdded,
    ClientRemoved,
    ClientSecretRotated,
    Reasoned,
    reasoned,
)
from guilder.identity.service.step_up import StepUp
from guilder.identity.store import clients as store
from guilder.identity.store import revocations
from guilder.identity.store.clients import NewClient, database_time
from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.auth import Caller
from guilder.platform.db import Database, Tx
from guilder.platform.identifiers import new_id
from guilder.platform.outbox import Fact, append, outgoing
from guilder.platform.permissions import CUSTOMER, ROLES

BEFORE_ALL = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who acts on which clients: a user on their own (``owner_id``), or staff on the house's.

    ``asker`` is the user's session, which has to have proved itself lately; staff say a ``reason``.
    """

    caller: Caller
    owner_id: UserId | None
    asker: Asker | None = None
    reason: str | None = None

    @property
    def reasoned(self) -> Reasoned | None:
        """The reason as events tell it."""
        return reasoned(self.reason)


class MachineClients:
    """Makes and ends machine clients."""

    def __init__(self, *, db: Database, step_up: StepUp) -> None:
        self._db = db
        self._step_up = step_up

    async def add(self, acting: Acting, *, name: str, scopes: Sequence[str]) -> ClientWithSecret:
        """Make a client with these scopes, each a permission that the caller has.

        Raises:
            ValidationFailed: there is no scope, one is there twice, is for people only, or is
                about what is one's own and the client nobody's.
            BeyondOwnPermissions: the caller does not have one of them.
            TooManyClients: the user has as many as one may have.
            StepUpRequired: the user's session has to prove itself first.
        """
        problem = rules.scope_problem(
            scopes, ones_own=ROLES[CUSTOMER] if acting.owner_id is None else frozenset()
        )
        if problem is not None:
            raise ValidationFailed(fields={"scopes": problem})
        if not acting.caller.permissions.issuperset(scopes):
            raise BeyondOwnPermissions
        secret = rules.spelled(secrets.token_bytes(rules.SECRET_BYTES))
        client = NewClient(
            id=UserId(new_id()),
            owner_id=acting.owner_id,
            name=name,
            scopes=tuple(sorted(scopes)),
            secret_digest=rules.digest(secret),
            tokens_id=SessionId(new_id()),
            made_by=acting.caller.user_id,
        )
        view = await self._db.run(lambda tx: self._write(tx, client, acting))
        return ClientWithSecret(client=view, secret=secret)

    async def page(
        self, *, owner_id: UserId | None, after: UUID, limit: int
    ) -> Sequence[ClientView]:
        """A user's clients, or the house's, in order of their making."""
        async with self._db.reading() as tx:
            return await store.page(tx, owner_id=owner_id, after=after, limit=limit)

    async def rotate(
        self, acting: Acting, client_id: UserId, *, overlap_s: int, ends_tokens: bool
    ) -> ClientWithSecret:
        """Give a client another secret. The one before stays good for ``overlap_s`` seconds.

        ``ends_tokens`` ends the tokens that are out, too, as after a leak.

        Raises:
            ClientNotFound: there is none, or it is somebody else's.
            StepUpRequired: the user's session has to prove itself first.
        """
        secret = rules.spelled(secrets.token_bytes(rules.SECRET_BYTES))
        digest, tokens_id = rules.digest(secret), SessionId(new_id())

        async def work(tx: Tx) -> ClientView:
            await self._require_recent(tx, acting)
            client = await store.lock(tx, client_id, owner_id=acting.owner_id)
            if client is None:
                raise ClientNotFound
            if client.secret_digest == digest:  # of a commit whose answer was lost
                return client.view
            view = await store.rotate(tx, client, secret_digest=digest, overlap_s=overlap_s)
            if ends_tokens:
                await store.renew_tokens(tx, client_id, tokens_id=tokens_id)
                await revocations.end_sessions(tx, [client.tokens_id])
            fact = ClientSecretRotated(
                client_id=client_id,
                user_id=acting.owner_id,
                by=acting.caller.user_id,
                previous_until=view.previous_secret_until,
                tokens_ended=ends_tokens,
                personal=acting.reasoned,
                rotated_at=view.rotated_at,
            )
            await _publish(tx, fact, view)
            return view

        return ClientWithSecret(client=await self._db.run(work), secret=secret)

    async def delete(self, acting: Acting, client_id: UserId) -> None:
        """End a client and its tokens.

        Raises:
            ClientNotFound: there is none, or it is somebody else's.
        """
        seen = False

        async def work(tx: Tx) -> None:
            nonlocal seen
            found = await store.lock(tx, client_id, owner_id=acting.owner_id)
            if found is None:
                if seen:  # the commit whose answer was lost has done it
                    return
                raise ClientNotFound
            seen = True
            await store.delete(tx, client_id)
            await revocations.end_sessions(tx, [found.tokens_id])
            fact = ClientRemoved(
                client_id=client_id,
                user_id=acting.owner_id,
                by=acting.caller.user_id,
                personal=acting.reasoned,
                removed_at=await database_time(tx),
            )
            await _publish(tx, fact, found.view)

        await self._db.run(work)

    async def _write(self, tx: Tx, client: NewClient, acting: Acting) -> ClientView:
        await self._require_recent(tx, acting)
        has_room = True
        if client.owner_id is not None:
            has_room = await store.count(tx, owner_id=client.owner_id) < rules.MOST_CLIENTS
        view = await store.add(tx, client) if has_room else None
        if view is None:
            there = await store.lock(tx, client.id, owner_id=client.owner_id)
            if there is None:
                raise TooManyClients
            return there.view
        fact = ClientAdded(
            client_id=client.id,
            user_id=client.owner_id,
            scopes=client.scopes,
            by=client.made_by,
            personal=acting.reasoned,
            added_at=view.made_at,
        )
        await _publish(tx, fact, view)
        return view

    async def _require_recent(self, tx: Tx, acting: Acting) -> None:
        if acting.asker is not None:
            await self._step_up.require_recent(tx, acting.asker)


async def end_client_tokens(tx: Tx, *, user_id: UserId) -> None:
    """End every token of a user's clients, which stay. The user's row is locked."""
    ended = await store.renew_all_of(tx, user_id)
    if ended:
        await revocations.end_sessions(tx, ended)


async def forget_clients(tx: Tx, *, user_id: UserId) -> None:
    """End every client of a user and its tokens, for an erasure."""
    removed = await store.delete_all_of(tx, user_id)
    if not removed:
        return
    await revocations.end_sessions(tx, list(removed.values()))
    removed_at = await database_time(tx)
    facts = [
        ClientRemoved(
            client_id=client_id, user_id=user_id, by=None, personal=None, removed_at=removed_at
        )
        for client_id in removed
    ]
    await append(tx, [outgoing(fact, key=str(user_id)) for fact in facts])


async def _publish(tx: Tx, fact: Fact, client: ClientView) -> None:
    await append(tx, [outgoing(fact, key=str(client.owner_id or client.id))])
