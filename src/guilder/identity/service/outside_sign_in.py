"""Somebody signs in with a provider who knows them, or links the provider to their user.

A sign-in belongs to the browser that began it, is used once, and is over in ten minutes. Nothing
is asked of the provider inside a transaction. Whom the provider names is a user here by a link;
a link is made by a user who is signed in, or by an email that both sides have verified.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from guilder.identity.api import AccountView, SignedIn
from guilder.identity.api.outside import (
    AlreadyLinked,
    Departure,
    LinkNotFound,
    LinkView,
    NotLinked,
    OutsidePerson,
    OutsideSignInFailed,
    Provider,
    ProviderNotFound,
    Return,
)
from guilder.identity.api.second_factors import Asker, Challenge, SecondFactors
from guilder.identity.domain import outside as rules
from guilder.identity.domain.applicants import Malformed, read_email
from guilder.identity.domain.outside import Verdict
from guilder.identity.events import (
    OutsideIdentityLinked,
    OutsideIdentityUnlinked,
)
from guilder.identity.service.sessions import Sessions
from guilder.identity.service.step_up import StepUp
from guilder.identity.store import outside as store
from guilder.identity.store import sessions as session_store
from guilder.identity.store.outside import Flow, Taken
from guilder.identity.store.users import UserStore
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.db import Database, Tx
from guilder.platform.envelopes import OuterKeys
from guilder.platform.outbox import Fact, append, outgoing
from guilder.platform.permissions import CUSTOMER

METHODS = ("fed",)
BY_USER, BY_EMAIL = "user", "email"
USUAL = frozenset({CUSTOMER})
_ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The provider was linked to the user who had asked for it."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A person of a provider, under the name that the database knows them by."""

    provider: str
    subject_key: UUID
    email_key: str | None


class OutsideSignIn:
    """Signs people in whom a provider knows. ``redirects`` is where providers send browsers."""

    def __init__(
        self,
        *,
        db: Database,
        users: UserStore,
        keys: OuterKeys,
        sessions: Sessions,
        factors: SecondFactors,
        step_up: StepUp,
        providers: Mapping[str, Provider],
        redirects: str,
    ) -> None:
        self._db = db
        self._users = users
        self._keys = keys
        self._sessions = sessions
        self._factors = factors
        self._step_up = step_up
        self._providers = providers
        self._redirects = redirects

    async def begin(self, name: str, *, linking: Asker | None = None) -> Departure:
        """Send a browser to a provider: to sign in, or to link the provider to who is signed in.

        Raises:
            ProviderNotFound: there is none of this name.
            SignInProviderUnavailable: it does not say where to go.
            StepUpRequired: the session that links has to prove itself first.
        """
        provider = self._provider(name)
        state, secret = (rules.spelled(secrets.token_bytes(rules.SECRET_BYTES)) for _ in "ab")
        ask = rules.asked(state=state, browser_secret=secret, redirect_uri=self._redirect(name))
        url = await provider.authorization_url(ask)
        flow = Flow(
            state_digest=rules.digest(state),
            browser_digest=rules.digest(secret),
            provider=name,
            link_user_id=None if linking is None else linking.user_id,
            link_session_id=None if linking is None else linking.session_id,
        )

        async def work(tx: Tx) -> None:
            if linking is not None:
                await self._step_up.require_recent(tx, linking)
            await store.begin(tx, flow, life=rules.FLOW_LIFE)

        await self._db.run(work)
        return Departure(url=url, state=state, browser_secret=secret)

    async def finish(
        self, name: str, back: Return, *, user_agent: str | None, client_address: str
    ) -> SignedIn | Challenge | Linked:
        """What comes of a browser that is back: a session, a challenge, or a link.

        Raises:
            ProviderNotFound: there is none of this name.
            OutsideSignInFailed: it was not begun here, is over, or the provider said no.
            SignInProviderUnavailable: the provider cannot say.
            NotLinked: nobody here is linked to this person.
            AlreadyLinked: another user is, or the user is linked to another person.
            UserFrozen: staff have frozen the user.
            InvalidCredentials: the user's sessions were ended meanwhile.
        """
        provider = self._provider(name)
        taken = await self._take(name, back)
        if back.code is None or back.error is not None:
            raise OutsideSignInFailed
        ask = rules.asked(
            state=back.state,
            browser_secret=back.browser_secret or "",
            redirect_uri=self._redirect(name),
        )
        person = await provider.person(ask, code=back.code, issuer=back.issuer)
        known = self._known(name, person)
        if taken.link_user_id is not None:
            await self._db.run(lambda tx: self._link(tx, known, taken))
            return Linked(provider=name)
        account = await self._db.run(lambda tx: self._recognised(tx, known))
        if account is None:
            raise NotLinked
        demand = await self._factors.demand(
            account, otp=None, client_address=client_address, methods=METHODS
        )
        if isinstance(demand, Challenge):
            return demand
        return await self._sessions.open(
            account, user_agent=user_agent, client_address=client_address, methods=demand.methods
        )

    async def links(self, user_id: UserId) -> Sequence[LinkView]:
        """The providers that a user signs in with."""
        async with self._db.reading() as tx:
            return await store.of_user(tx, user_id)

    async def unlink(self, asker: Asker, name: str) -> None:
        """Sign a user in with a provider no more.

        Raises:
            LinkNotFound: they did not.
            StepUpRequired: the session has to prove itself first.
        """
        seen = False

        async def work(tx: Tx) -> None:
            nonlocal seen
            await self._step_up.require_recent(tx, asker)
            if not await store.unlink(tx, user_id=asker.user_id, provider=name):
                if seen:  # the commit whose answer was lost has done it
                    return
                raise LinkNotFound
            seen = True
            fact = OutsideIdentityUnlinked(
                user_id=asker.user_id, provider=name, unlinked_at=await store.database_time(tx)
            )
            await _publish(tx, fact, asker.user_id)

        await self._db.run(work)

    async def purge(self) -> None:
        """Forget sign-ins that nobody came back from in time."""
        await self._db.run(store.purge)

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            raise ProviderNotFound
        return provider

    def _redirect(self, name: str) -> str:
        return f"{self._redirects}/{name}/callback"

    def _known(self, name: str, person: OutsidePerson) -> _Known:
        email_key = None
        if person.verified_email is not None:
            try:
                email_key = read_email(person.verified_email).key
            except Malformed:
                email_key = None
        subject_key = self._keys.pseudonym(rules.subject_text(person))
        return _Known(provider=name, subject_key=subject_key, email_key=email_key)

    async def _take(self, name: str, back: Return) -> Taken:
        secret = back.browser_secret
        if secret is None or not rules.is_spelled(secret) or not rules.is_spelled(back.state):
            raise OutsideSignInFailed
        ours: Taken | None = None

        async def work(tx: Tx) -> Taken | None:
            nonlocal ours
            taken = await store.take(
                tx,
                state_digest=rules.digest(back.state),
                browser_digest=rules.digest(secret),
                provider=name,
            )
            # when the answer to a commit was lost, it was we who took it
            ours = taken or ours
            return ours

        found = await self._db.run(work)
        if found is None:
            raise OutsideSignInFailed
        return found

    async def _link(self, tx: Tx, known: _Known, taken: Taken) -> None:
        """Link a person to the user whose session asked, and goes on."""
        user_id, session_id = taken.link_user_id, taken.link_session_id
        if user_id is None or session_id is None or not await _goes_on(tx, user_id, session_id):
            raise OutsideSignInFailed
        await self._write_link(tx, known, user_id=user_id, linked_by=BY_USER)

    async def _write_link(self, tx: Tx, known: _Known, *, user_id: UserId, linked_by: str) -> None:
        linked_at = await store.link(
            tx,
            provider=known.provider,
            subject_key=known.subject_key,
            user_id=user_id,
            linked_by=linked_by,
        )
        if linked_at is not None:
            fact = OutsideIdentityLinked(
                user_id=user_id,
                provider=known.provider,
                linked_by=linked_by,
                linked_at=linked_at,
            )
            await _publish(tx, fact, user_id)
            return
        found = await self._linked(tx, known)
        if found is None or found[0] != user_id:
            raise AlreadyLinked

    async def _recognised(self, tx: Tx, known: _Known) -> AccountView | None:
        found = await self._linked(tx, known)
        if found is None:
            return await self._by_email(tx, known)
        user_id, linked_by = found
        account = await self._users.account(tx, user_id)
        if account is None or not rules.holds(account, by_email=linked_by == BY_EMAIL, usual=USUAL):
            return None
        await store.mark_used(tx, provider=known.provider, subject_key=known.subject_key)
        return account

    async def _by_email(self, tx: Tx, known: _Known) -> AccountView | None:
        if known.email_key is None:
            return None
        row = await self._users.sign_in_account(
            tx, email_key=known.email_key, phone=None, account_type=None
        )
        account = None if row is None else row.account
        is_verified = account is not None and await store.has_verified_email(tx, account.user_id)
        verdict = rules.judge(account, email_is_verified=is_verified, usual_roles=USUAL)
        if account is None or verdict is Verdict.REFUSE:
            return None
        await self._write_link(tx, known, user_id=account.user_id, linked_by=BY_EMAIL)
        await store.mark_used(tx, provider=known.provider, subject_key=known.subject_key)
        return account

    async def _linked(self, tx: Tx, known: _Known) -> tuple[UserId, str] | None:
        return await store.linked(tx, provider=known.provider, subject_key=known.subject_key)


async def forget_links(tx: Tx, *, user_id: UserId) -> None:
    """Delete every link of a user, for an erasure, and tell nobody."""
    await store.forget(tx, user_id)


async def end_links(tx: Tx, *, user_id: UserId) -> None:
    """Let no provider sign a user in any more, and tell so."""
    for link in await store.of_user(tx, user_id):
        fact = OutsideIdentityUnlinked(
            user_id=user_id, provider=link.provider, unlinked_at=await store.database_time(tx)
        )
        await _publish(tx, fact, user_id)
    await store.forget(tx, user_id)


async def _goes_on(tx: Tx, user_id: UserId, session_id: SessionId) -> bool:
    """Whether a user is there with this session; who ends either waits for the commit."""
    held = await session_store.hold_user(tx, user_id)
    return (
        held is not None and held.status != _ERASED and await session_store.is_live(tx, session_id)
    )


async def _publish(tx: Tx, fact: Fact, user_id: UserId) -> None:
    await append(tx, [outgoing(fact, key=str(user_id))])
