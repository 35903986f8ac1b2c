"""Routes of audit: records by who did what to what, when, for compliance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from msgspec import Meta, Struct

from guilder.audit.api import AUDIT_READ, Filters, Place, RecordView
from guilder.audit.domain import action_of
from guilder.audit.service.read_records import ReadRecords
from guilder.platform.http.fields import Moment
from guilder.platform.http.pages import Page, decode_cursor, encode_cursor, page_meta
from guilder.platform.http.route import Answer, Request, Route

_TAG: Final = "Audit"
_PATHS: Final = ("/audit", "/internal/audit", "/admin/audit-logs")

Text = Annotated[str, Meta(min_length=1, max_length=255)]


class RecordsQuery(Page, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which records: those that match every filter that is given, newest first."""

    actor: UUID | None = None
    action: Text | None = None
    subject: Text | None = None
    since: Moment | None = None
    until: Moment | None = None
    request_id: Text | None = None
    trace_id: Text | None = None


class RecordBody(Struct, kw_only=True):
    """One record: who did what to what, when, in which request.

    ``created_at`` is when it happened, ``recorded_at`` when audit kept it. ``details`` are the
    event's own fields; ``before`` and ``after`` hold what changed, where the event says.
    ``personal`` is readable until the person is erased: ``personal_state`` is none, readable,
    erased or damaged. ``chain``, ``sequence`` and ``hash`` are its place for `guilder verify`.
    """

    id: UUID
    actor_id: UUID | None
    action: str
    subject: str
    key: str
    created_at: datetime
    recorded_at: datetime
    request_id: str | None
    trace_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    details: dict[str, Any]
    person_id: UUID | None
    personal: dict[str, Any] | None
    personal_state: str
    chain: int
    sequence: int
    hash: str


class _Cursor(Struct, frozen=True, forbid_unknown_fields=True):
    created_at: Moment
    id: UUID


def routes(reading: ReadRecords) -> tuple[Route, ...]:
    """The list of records under its three names, of which the first is documented."""

    async def records(request: Request) -> Answer:
        """Filters are combined; ``until`` itself is left out.

        A subject is found as what an event was about and as the aggregate it belongs to: a
        transaction's id finds that transaction, a wallet's id also the transactions from it.
        """
        query: RecordsQuery = request.query
        filters = _filters(query)
        bound = {"list": "audit", **_bound(filters)}
        after = None
        if query.cursor is not None:
            cursor = decode_cursor(query.cursor, _Cursor, filters=bound)
            after = Place(created_at=cursor.created_at, id=cursor.id)
        found = await reading.page(filters, after=after, limit=query.limit + 1)
        more = len(found) > query.limit
        found = found[: query.limit]
        next_cursor = (
            encode_cursor({"created_at": found[-1].created_at, "id": found[-1].id}, filters=bound)
            if more
            else None
        )
        return Answer(data=[_body(view) for view in found], meta=page_meta(next_cursor))

    return tuple(
        Route(
            method="GET",
            path=path,
            handler=records,
            access=AUDIT_READ,
            summary="Records of who did what, newest first (staff)",
            tag=_TAG,
            query=RecordsQuery,
            answers=RecordBody,
            is_list=True,
            listed=path == _PATHS[0],
        )
        for path in _PATHS
    )


def _filters(query: RecordsQuery) -> Filters:
    return Filters(
        actor_id=query.actor,
        action=None if query.action is None else action_of(query.action),
        subject=query.subject,
        since=query.since,
        until=query.until,
        request_id=query.request_id,
        trace_id=query.trace_id,
    )


def _bound(filters: Filters) -> Mapping[str, object]:
    return {name: getattr(filters, name) for name in Filters.__slots__}


def _body(view: RecordView) -> RecordBody:
    return RecordBody(
        id=view.id,
        actor_id=view.actor_id,
        action=view.action,
        subject=view.subject,
        key=view.key,
        created_at=view.created_at,
        recorded_at=view.recorded_at,
        request_id=view.request_id,
        trace_id=view.trace_id,
        before=_plain(view.before),
        after=_plain(view.after),
        details=dict(view.details),
        person_id=view.person_id,
        personal=_plain(view.personal),
        personal_state=view.personal_state.value,
        chain=view.chain,
        sequence=view.sequence,
        hash=view.hash.hex(),
    )


def _plain(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)
