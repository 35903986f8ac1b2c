"""Routes of feeds: the caller's own, and staff's look at somebody's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from guilder.kernel.ids import UserId
from guilder.notifications.api import NoticeNotFound
from guilder.notifications.service.reading import FeedReading, ShownItem
from guilder.platform.http.pages import Page, Position
from guilder.platform.http.route import Access, Answer, Request, Route

TAG: Final = "Notifications"
_AFTER_ALL: Final = 2**63 - 1


class NoticeBody(Struct, kw_only=True):
    """One thing somebody was told. ``data`` has what it is about, for programs."""

    id: UUID
    sequence: int
    type: str
    category: str
    title: str
    body: str
    data: dict[str, Any]
    is_read: bool
    created_at: datetime
    read_at: datetime | None


class UnreadBody(Struct, kw_only=True):
    """How many notices were not read yet."""

    unread_count: int


class FeedRoutes:
    """The handlers behind the routes."""

    def __init__(self, reading: FeedReading) -> None:
        self._reading = reading

    async def own(self, request: Request) -> Answer:
        """Newest first. ``GET /notifications/stream`` sends new ones as they come."""
        return await self._page(request, request.user.user_id)

    async def of_user(self, request: Request) -> Answer:
        """What somebody was told, newest first, for staff who help them."""
        return await self._page(request, UserId(request.id("user_id")))

    async def unread(self, request: Request) -> Answer:
        """For the number beside the bell."""
        count = await self._reading.count_unread(request.user.user_id)
        return Answer(data=UnreadBody(unread_count=count))

    async def read(self, request: Request) -> Answer:
        """Repeating it is safe; the first time counts."""
        notice_id = request.id("notification_id")
        item = await self._reading.read(request.user.user_id, notice_id=notice_id)
        return Answer(data=notice_body(item))

    async def read_all(self, request: Request) -> Answer:
        """Everything that is in the feed by now."""
        await self._reading.read_all(request.user.user_id)
        return Answer(data=UnreadBody(unread_count=0))

    async def _page(self, request: Request, user_id: UserId) -> Answer:
        page: Page = request.query
        filters = {"list": "notifications", "user": user_id}
        before = page.position(Position, filters=filters, otherwise=_AFTER_ALL)
        items = await self._reading.page(user_id, before=before, limit=page.asked)
        return page.answer(
            items, filters=filters, position=lambda shown: shown.item.sequence, body=notice_body
        )

    def routes(self) -> tuple[Route, ...]:
        """Every route of feeds."""
        return (
            Route(
                method="GET",
                path="/notifications",
                handler=self.own,
                access=Access.ANY_CALLER,
                summary="List one's notifications",
                tag=TAG,
                query=Page,
                answers=NoticeBody,
                is_list=True,
            ),
            Route(
                method="GET",
                path="/notifications/unread-count",
                handler=self.unread,
                access=Access.ANY_CALLER,
                summary="Count one's unread notifications",
                tag=TAG,
                answers=UnreadBody,
            ),
            Route(
                method="POST",
                path="/notifications/{notification_id}/read",
                handler=self.read,
                access=Access.ANY_CALLER,
                summary="Mark a notification as read",
                tag=TAG,
                answers=NoticeBody,
                raises=(NoticeNotFound,),
            ),
            Route(
                method="POST",
                path="/notifications/read-all",
                handler=self.read_all,
                access=Access.ANY_CALLER,
                summary="Mark all notifications as read",
                tag=TAG,
                answers=UnreadBody,
            ),
            Route(
                method="GET",
                path="/notifications/user/{user_id}",
                handler=self.of_user,
                access="notifications:read_any",
                summary="List a user's notifications (staff)",
                tag=TAG,
                query=Page,
                answers=NoticeBody,
                is_list=True,
            ),
        )


def notice_body(shown: ShownItem) -> NoticeBody:
    """A notice as routes and streams show it."""
    item = shown.item
    return NoticeBody(
        id=item.id,
        sequence=item.sequence,
        type=item.template,
        category=item.category,
        title=shown.title,
        body=shown.body,
        data=dict(item.data),
        is_read=item.read_at is not None,
        created_at=item.created_at,
        read_at=item.read_at,
    )
