"""Routes for staff and services: messages to people, and the templates they are made of."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from guilder.kernel.errors import ValidationFailed
from guilder.kernel.ids import UserId
from guilder.notifications.api import (
    Category,
    Channel,
    MessageIdTaken,
    MessageNotFound,
    TemplateNotFound,
)
from guilder.notifications.domain.notices import TEMPLATES
from guilder.notifications.domain.preferences import LANGUAGES
from guilder.notifications.domain.records import Delivery
from guilder.notifications.http.feed import TAG
from guilder.notifications.service.sending import Sending
from guilder.notifications.service.wording import Writer
from guilder.platform.http.fields import Name
from guilder.platform.http.route import Answer, Handler, Request, Route

SEND: Final = "notifications:send"
_OWN_WORDS: Final = "message"

_UNSEEN: Final = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
Paragraphs = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=5000,
        pattern=rf"^[^{_UNSEEN}]*\Z",
    ),
]
"""Text of several lines."""


class SendMessage(Struct, forbid_unknown_fields=True, kw_only=True):
    """A template with its values, or a subject and a text of one's own.

    ``id`` names the message, so that sending it again is safe.
    """

    user_id: UUID
    template: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    values: dict[str, Name] | None = None
    subject: Name | None = None
    text: Paragraphs | None = None
    category: Literal["security", "payments", "account", "marketing"] | None = None
    id: UUID | None = None


class MessageBody(Struct, kw_only=True):
    """A message and what has become of it. ``reason`` says why it is not sent (yet)."""

    id: UUID
    user_id: UUID
    channel: str
    template: str
    category: str
    status: str
    attempts: int
    reason: str | None
    created_at: datetime
    ended_at: datetime | None


class TemplateBody(Struct, kw_only=True):
    """A template: its category, the languages it exists in, the values it takes."""

    name: str
    category: str
    languages: list[str]
    fields: list[str]


class PreviewQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    """In which language."""

    language: Literal["en", "hi"] = "en"


class PreviewBody(Struct, kw_only=True):
    """A template filled with its example."""

    name: str
    language: str
    title: str
    short: str
    text: str
    html: str


class SendingRoutes:
    """The handlers behind the routes."""

    def __init__(self, sending: Sending, *, writer: Writer, time_zone: str) -> None:
        self._sending = sending
        self._writer = writer
        self._time_zone = time_zone

    def send(self, channel: Channel) -> Handler:
        """The handler that sends by one channel."""

        async def handler(request: Request) -> Answer:
            body: SendMessage = request.body
            template, values = _words(body)
            sent = await self._sending.send(
                UserId(body.user_id),
                channel=channel,
                template=template,
                values=values,
                category=None if body.category is None else Category(body.category),
                message_id=body.id,
            )
            return Answer(data=[_message(delivery) for delivery in sent])

        handler.__doc__ = (
            "It goes to the person's own address, in their language, unless they switched its "
            "category off on this channel; then it is recorded as suppressed. Look at it later "
            "under `/notifications/messages/{id}`."
        )
        return handler

    async def look(self, request: Request) -> Answer:
        """Whether it is queued, sent, failed or suppressed, after how many attempts, and why."""
        return Answer(data=_message(await self._sending.look(request.id("message_id"))))

    async def templates(self, request: Request) -> Answer:  # noqa: ARG002 - a handler's shape
        """Every template there is."""
        return Answer(
            data=[
                TemplateBody(
                    name=name,
                    category=template.category.value,
                    languages=list(LANGUAGES),
                    fields=list(template.fields),
                )
                for name, template in TEMPLATES.items()
            ]
        )

    async def preview(self, request: Request) -> Answer:
        """The template as somebody would get it, filled with an example."""
        name, language = request.params["name"], request.query.language
        wording = self._writer.preview(name, language=language, time_zone=self._time_zone)
        return Answer(
            data=PreviewBody(
                name=name,
                language=language,
                title=wording.title,
                short=wording.short,
                text=wording.text,
                html=wording.html,
            )
        )

    def routes(self) -> tuple[Route, ...]:
        """Every route of sending."""
        return (
            *(self._send_route(channel) for channel in Channel if channel is not Channel.IN_APP),
            Route(
                method="GET",
                path="/notifications/messages/{message_id}",
                handler=self.look,
                access=SEND,
                summary="Look at what has become of a message (staff)",
                tag=TAG,
                answers=MessageBody,
                raises=(MessageNotFound,),
            ),
            Route(
                method="GET",
                path="/notifications/templates",
                handler=self.templates,
                access=SEND,
                summary="List templates (staff)",
                tag=TAG,
                answers=list[TemplateBody],
            ),
            Route(
                method="GET",
                path="/notifications/templates/{name}/preview",
                handler=self.preview,
                access=SEND,
                summary="Preview a template (staff)",
                tag=TAG,
                query=PreviewQuery,
                answers=PreviewBody,
                raises=(TemplateNotFound,),
            ),
        )

    def _send_route(self, channel: Channel) -> Route:
        spoken = {Channel.EMAIL: "email", Channel.SMS: "SMS", Channel.PUSH: "push message"}
        return Route(
            method="POST",
            path=f"/notifications/{channel.value}",
            handler=self.send(channel),
            access=SEND,
            summary=f"Send an {spoken[channel]}".replace("an push", "a push") + " (staff)",
            tag=TAG,
            body=SendMessage,
            answers=list[MessageBody],
            status=202,
            raises=(TemplateNotFound, ValidationFailed, MessageIdTaken),
            example={
                "user_id": "01939f6e-5a7c-7d60-8c1e-7a5d0f3f9a11",
                "subject": "Our office is closed on Monday",
                "text": "We are back on Tuesday.",
            },
        )


def _words(body: SendMessage) -> tuple[str, dict[str, str]]:
    own = {"subject": body.subject, "text": body.text}
    given = {name: text for name, text in own.items() if text is not None}
    if body.template is not None:
        if given:
            raise ValidationFailed(fields=dict.fromkeys(given, "does not go with a template"))
        return body.template, dict(body.values or {})
    if body.values is not None:
        raise ValidationFailed(fields={"values": "go with a template"})
    missing = [name for name, text in own.items() if text is None]
    if missing:
        raise ValidationFailed(fields=dict.fromkeys(missing, "is required without a template"))
    return _OWN_WORDS, given


def _message(delivery: Delivery) -> MessageBody:
    return MessageBody(
        id=delivery.id,
        user_id=delivery.user_id,
        channel=delivery.channel.value,
        template=delivery.template,
        category=delivery.category,
        status=delivery.status,
        attempts=delivery.attempts,
        reason=delivery.reason,
        created_at=delivery.created_at,
        ended_at=delivery.ended_at,
    )
