"""Routes of sessions: refresh one, end one or all, see which devices are signed in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.identity.api.sessions import EndReason, SessionUnusable, SessionView
from guilder.identity.http.logins import Login, login_body, user_agent
from guilder.identity.service.sessions import Sessions
from guilder.kernel.errors import NotFound, NotPermitted, ValidationFailed
from guilder.kernel.ids import SessionId, UserId
from guilder.platform.auth import Caller
from guilder.platform.http.pages import Page, decode_cursor, encode_cursor, page_meta
from guilder.platform.http.route import Access, Answer, Request, Route

_TAG: Final = "identity"


class RefreshBody(Struct, forbid_unknown_fields=True, kw_only=True):
    """The refresh token that was answered last."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class Ended(Struct, kw_only=True):
    """How many sessions have ended."""

    ended: int


class SessionBody(Struct, kw_only=True):
    """A session that goes on. ``methods`` are how its holder proved who they are (RFC 8176).

    ``last_used_at`` and ``address`` are of its last refresh, which comes every few minutes while
    it is used.
    """

    id: UUID
    current: bool
    account_type: str
    user_agent: str | None
    address: str | None
    methods: tuple[str, ...]
    started_at: datetime
    last_used_at: datetime
    expires_at: datetime


class SessionsQuery(Page, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which part of the list."""


class SessionRoutes:
    """The handlers, each one use case."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def refresh(self, request: Request) -> Answer:
        """A refresh token is used once; the answer has the next one.

        If the answer was lost, the same token may be shown again within 30 seconds and gives the
        same next token. A token that is shown again later, or after its successor was used, is in
        two hands: its session ends, and whoever it belongs to signs in again.
        """
        body: RefreshBody = request.body
        signed_in = await self._sessions.refresh(
            body.refresh_token,
            user_agent=user_agent(request),
            client_address=request.client_address,
        )
        return Answer(data=login_body(signed_in))

    async def logout(self, request: Request) -> Answer:
        """The session's tokens, the refresh token too, are refused from the next request on."""
        session_id, person = request.user.session_id, _person(request.user)
        if session_id is None:
            raise NotFound
        await self._sessions.end_one(session_id, user_id=person, reason=EndReason.LOGOUT)
        return Answer(data=Ended(ended=1))

    async def logout_all(self, request: Request) -> Answer:
        """Ends every session of every account of the user, and forgets remembered devices."""
        return Answer(data=Ended(ended=await self._sessions.end_all(user_id=_person(request.user))))

    async def list(self, request: Request) -> Answer:
        """The devices that are signed in to any of the caller's accounts, newest first."""
        query: SessionsQuery = request.query
        person = _person(request.user)
        bound = {"list": "sessions", "user": person}
        after = None
        if query.cursor is not None:
            after = SessionId(decode_cursor(query.cursor, UUID, filters=bound))
        found = await self._sessions.page(user_id=person, after=after, limit=query.limit + 1)
        shown = found[: query.limit]
        more = len(found) > query.limit
        next_cursor = encode_cursor(shown[-1].id, filters=bound) if more else None
        current = request.user.session_id
        return Answer(
            data=[_body(view, current=current) for view in shown], meta=page_meta(next_cursor)
        )

    async def end(self, request: Request) -> Answer:
        """Ends one session: its tokens are refused from the next request on."""
        session_id = SessionId(request.id("session_id"))
        await self._sessions.end_one(
            session_id, user_id=_person(request.user), reason=EndReason.ENDED_BY_USER
        )
        return Answer(data=Ended(ended=1))

    def routes(self) -> tuple[Route, ...]:
        """Every route of sessions."""
        return (self._refresh_route(), *self._ending_routes(), self._list_route())

    def _refresh_route(self) -> Route:
        return Route(
            method="POST",
            path="/auth/refresh",
            handler=self.refresh,
            access=Access.PUBLIC,
            summary="Go on with a session",
            tag=_TAG,
            body=RefreshBody,
            answers=Login,
            raises=(ValidationFailed, SessionUnusable),
            example={"refresh_token": "grt_TOaDV0rcK-6C1Tn1yIXqKh2zK1CQQpoXkHnXtOJqZ3A"},
        )

    def _ending_routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/auth/logout",
                handler=self.logout,
                access=Access.ANY_CALLER,
                summary="End the caller's session",
                tag=_TAG,
                answers=Ended,
                raises=(NotFound, NotPermitted),
            ),
            Route(
                method="POST",
                path="/auth/logout-all",
                handler=self.logout_all,
                access=Access.ANY_CALLER,
                summary="Sign out everywhere",
                tag=_TAG,
                answers=Ended,
                raises=(NotPermitted,),
            ),
            Route(
                method="DELETE",
                path="/auth/sessions/{session_id}",
                handler=self.end,
                access=Access.ANY_CALLER,
                summary="End one session",
                tag=_TAG,
                answers=Ended,
                raises=(NotFound, NotPermitted),
            ),
        )

    def _list_route(self) -> Route:
        return Route(
            method="GET",
            path="/auth/sessions",
            handler=self.list,
            access=Access.ANY_CALLER,
            summary="Where the caller is signed in",
            tag=_TAG,
            query=SessionsQuery,
            answers=SessionBody,
            is_list=True,
            raises=(ValidationFailed, NotPermitted),
        )


def _person(caller: Caller) -> UserId:
    """The user behind the account that calls.

    Raises:
        NotPermitted: it is a machine client, which has no say in a person's sessions.
    """
    if caller.client_id is not None:
        raise NotPermitted
    return caller.customer_id or caller.user_id


def _body(view: SessionView, *, current: SessionId | None) -> SessionBody:
    return SessionBody(
        id=view.id,
        current=view.id == current,
        account_type=view.account_type.value,
        user_agent=view.user_agent,
        address=view.client_address,
        methods=view.methods,
        started_at=view.started_at,
        last_used_at=view.last_used_at,
        expires_at=view.expires_at,
    )
