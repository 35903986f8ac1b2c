"""Staff find records over HTTP by who, what, on what and when, page by page; nobody else does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from guilder.audit.api import Filters, Place
from guilder.audit.store.records import page_query
from guilder.platform.db import Database
from guilder.platform.http.asgi import HttpApp
from guilder.platform.http.dispatcher import Dispatcher
from guilder.platform.http.forwarded import TrustedProxies
from guilder.platform.http.metrics import RequestMetrics
from guilder.platform.identifiers import new_id
from guilder.platform.permissions import ADMIN, COMPLIANCE, ROLES, permissions_of
from tests.support.archive import Archive, event
from tests.support.shop import Tokens, caller
from tests.support.tampering import Connection

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANNA, BEN, WALLET = new_id(), new_id(), str(new_id())
TRANSACTION = str(new_id())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def archive(db: Database, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A hundred things Anna did, one a minute, and a few that Ben did."""
    archive = Archive(db=db, home=tmp_path_factory.mktemp("archive"))
    events = [
        event(
            "com.guilder.account.frozen" if number % 2 else "com.guilder.account.activated",
            key=WALLET,
            actor_id=ANNA,
            request_id=f"request-{number}",
            trace_id=f"{number:032x}",
            time=BEGAN + timedelta(minutes=number),
            number=number,
        )
        for number in range(100)
    ]
    paid = event(
        "com.guilder.transaction.completed",
        key=WALLET,
        actor_id=BEN,
        time=BEGAN + timedelta(hours=3),
        transaction_id=TRANSACTION,
    )
    # many at one moment: an order by time alone would lose some between pages
    at_once = [event(actor_id=BEN, time=BEGAN + timedelta(days=1)) for _ in range(30)]
    await archive.hear(*events, paid, *at_once)
    return archive


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def http(archive: Archive) -> AsyncIterator[httpx2.AsyncClient]:
    tokens = Tokens(callers={role: caller(permissions_of([role])) for role in ROLES})
    dispatcher = Dispatcher(
        {"audit": archive.module.routes},
        verifier=tokens,
        metrics=RequestMetrics(CollectorRegistry()),
        service_names=archive.module.service_names,
    )
    transport = httpx2.ASGITransport(HttpApp(dispatcher.respond, proxies=TrustedProxies()))
    async with httpx2.AsyncClient(
        transport=transport,
        base_url="http://guilder.test/api/v1",
        headers={"Authorization": f"Bearer {COMPLIANCE}"},
    ) as client:
        yield client


async def found(http: httpx2.AsyncClient, **filters: Any) -> list[dict[str, Any]]:
    answer = await http.get("/audit", params={"limit": 200, **filters})
    assert answer.status_code == 200, answer.text
    records: list[dict[str, Any]] = answer.json()["data"]
    return records


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("path", ["/audit", "/internal/audit", "/admin/audit-logs", "/audit/audit"])
async def test_only_compliance_and_administrators_read_records(
    http: httpx2.AsyncClient, role: str, path: str
):
    answer = await http.get(path, headers={"Authorization": f"Bearer {role}"})

    assert answer.status_code == (200 if role in {COMPLIANCE, ADMIN} else 403)


async def test_nobody_reads_records_without_a_token(http: httpx2.AsyncClient):
    answer = await http.get("/audit", headers={"Authorization": ""})

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"actor": str(ANNA)}, 100),
        ({"actor": str(BEN)}, 31),
        ({"actor": str(new_id())}, 0),
        ({"action": "account.activated"}, 50),
        ({"action": "com.guilder.account.activated"}, 50),
        ({"subject": WALLET}, 101),
        ({"subject": TRANSACTION}, 1),
        ({"subject": WALLET, "actor": str(BEN)}, 1),
        ({"request_id": "request-7"}, 1),
        ({"trace_id": f"{7:032x}"}, 1),
        ({"since": "2026-03-01T12:10:00Z", "until": "2026-03-01T12:20:00Z"}, 10),
        ({"since": "2026-03-01T17:40:00+05:30", "until": "2026-03-01T12:11:00Z"}, 1),
        ({"actor": str(ANNA), "action": "account.frozen", "since": "2026-03-01T13:00:00Z"}, 20),
        ({"since": "2026-03-03T00:00:00Z"}, 0),
    ],
)
async def test_filters_find_what_matches_all_of_them(
    http: httpx2.AsyncClient, filters: dict[str, str], count: int
):
    assert len(await found(http, **filters)) == count


@pytest.mark.parametrize("filters", [{}, {"subject": WALLET}, {"actor": str(BEN)}])
async def test_pages_show_every_record_once_newest_first(
    http: httpx2.AsyncClient, filters: dict[str, str]
):
    seen, cursor = [], None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = (await http.get("/audit", params={"limit": 7, **filters, **more})).json()
        seen += [(record["created_at"], record["id"]) for record in answer["data"]]
        cursor = answer["meta"]["next_cursor"]
        if cursor is None:
            break

    whole = [(r["created_at"], r["id"]) for r in await found(http, **filters)]
    assert seen == whole
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) > 14


async def test_a_cursor_is_of_no_use_with_other_filters(http: httpx2.AsyncClient):
    page = (await http.get("/audit", params={"limit": 1, "actor": str(ANNA)})).json()
    cursor = page["meta"]["next_cursor"]

    answer = await http.get("/audit", params={"limit": 1, "actor": str(BEN), "cursor": cursor})

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "filters",
    [
        {"actor": "anna"},
        {"since": "yesterday"},
        {"limit": "0"},
        {"limit": "201"},
        {"action": ""},
        {"subject": "x" * 256},
        {"cursor": "bm90aGluZw"},
        {"unknown": "1"},
    ],
)
async def test_filters_that_mean_nothing_are_refused(
    http: httpx2.AsyncClient, filters: dict[str, str]
):
    assert (await http.get("/audit", params=filters)).status_code == 400


async def test_a_text_that_no_database_holds_finds_nothing_or_is_refused(http: httpx2.AsyncClient):
    answer = await http.get("/audit?subject=%00")

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(actor_id=ANNA),
        Filters(action="account.frozen"),
        Filters(subject=WALLET),
        Filters(request_id="request-1"),
        Filters(trace_id=f"{1:032x}"),
        Filters(since=BEGAN, until=BEGAN + timedelta(days=1)),
    ],
    ids=["none", "actor", "action", "subject", "request", "trace", "dates"],
)
@pytest.mark.parametrize("after", [None, Place(created_at=BEGAN, id=ANNA)], ids=["first", "deep"])
async def test_every_query_of_a_page_walks_an_index_and_sorts_nothing_large(
    superuser: Connection, archive: Archive, filters: Filters, after: Place | None
):
    query, values = page_query(filters, after=after, limit=50)
    async with superuser.transaction():
        await superuser.execute("SET LOCAL enable_seqscan = off")
        await superuser.execute("SET LOCAL enable_bitmapscan = off")
        plan = "\n".join(
            row[0] for row in await superuser.fetch(f"EXPLAIN (COSTS OFF) {query}", *values)
        )

    assert "Seq Scan" not in plan
    assert "Index Scan" in plan
    assert "Sort" not in plan.replace("Sort Key", "").split("->")[-1]
