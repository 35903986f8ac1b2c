"""The sandbox outbox: what would have been sent to people, to be read. Not there in production."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.errors import NotPermitted
from guilder.kernel.ids import UserId
from guilder.notifications.domain.records import LaidOut
from guilder.notifications.http.feed import TAG
from guilder.notifications.service.reading import SandboxReading
from guilder.notifications.service.wording import Wording
from guilder.platform.http.pages import Page
from guilder.platform.http.route import Access, Answer, Request, Route

_READ_ANY: Final = "notifications:read_any"
_AFTER_ALL: Final = UUID(int=2**128 - 1)


class OutboxQuery(Page, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Whose messages: the caller's own, or for staff those of ``user_id``, without security."""

    user_id: UUID | None = None


class LaidOutBody(Struct, kw_only=True):
    """A message that a provider would have got. A mail is ``text`` and ``html``; the others are
    ``short``."""

    id: UUID
    user_id: UUID
    channel: str
    recipient: str
    subject: str
    short: str
    text: str
    html: str
    sent_at: datetime


class SandboxRoutes:
    """The handler behind the route."""

    def __init__(self, reading: SandboxReading) -> None:
        self._reading = reading

    async def outbox(self, request: Request) -> Answer:
        """Emails, SMS and push messages of the last week, newest first.

        Staff see no message of security to others: a code in it would let them in.
        """
        query: OutboxQuery = request.query
        user_id = request.user.user_id
        if query.user_id is not None and query.user_id != user_id:
            if not request.user.may(_READ_ANY):
                raise NotPermitted
            user_id = UserId(query.user_id)
        filters = {"list": "sandbox_outbox", "user": user_id}
        before = query.position(UUID, filters=filters, otherwise=_AFTER_ALL)
        found = await self._reading.page(
            user_id, before=before, limit=query.asked, to_others=user_id != request.user.user_id
        )
        return query.answer(
            found,
            filters=filters,
            position=lambda laid_out: laid_out[0].id,
            body=lambda laid_out: _body(*laid_out),
        )

    def routes(self) -> tuple[Route, ...]:
        """The route."""
        return (
            Route(
                method="GET",
                path="/notifications/sandbox-outbox",
                handler=self.outbox,
                access=Access.ANY_CALLER,
                summary="Read what would have been sent (sandbox)",
                tag=TAG,
                query=OutboxQuery,
                answers=LaidOutBody,
                is_list=True,
                raises=(NotPermitted,),
            ),
        )


def _body(message: LaidOut, wording: Wording) -> LaidOutBody:
    return LaidOutBody(
        id=message.id,
        user_id=message.user_id,
        channel=message.channel,
        recipient=message.recipient,
        subject=wording.title,
        short=wording.short,
        text=wording.text,
        html=wording.html,
        sent_at=message.sent_at,
    )
