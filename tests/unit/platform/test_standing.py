"""The copy of what was revoked: what it refuses, when it is believed, and what keeps it small."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from uuid import UUID

import pytest

from guilder.kernel.errors import Overloaded
from guilder.platform.permissions import ROLES, Definitions
from guilder.platform.standing import KEPT_S, PATIENCE_S, Kind, Revocation, Standing
from tests.support.standing import HandMadeFeed
from tests.support.waiting import until

ANNA = UUID("0193a3a0-0000-7000-8000-000000000001")
SESSION = UUID("0193a3a0-0000-7000-8000-000000000002")
TOKEN = UUID("0193a3a0-0000-7000-8000-000000000003")
CUSTOMER = frozenset({"customer"})


class Wall:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def feed() -> HandMadeFeed:
    return HandMadeFeed()


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def standing(feed: HandMadeFeed, wall: Wall) -> Standing:
    return Standing(feed, clock=wall)


@pytest.fixture
def positions() -> Iterator[int]:
    return count(1)


def revoked(position: int, kind: Kind, subject_id: UUID | None, *roles: str) -> Revocation:
    return Revocation(position=position, kind=kind, subject_id=subject_id, roles=frozenset(roles))


def refuses(standing: Standing) -> bool:
    return standing.refuses((SESSION, TOKEN), people=(ANNA, None))


def refused_by(standing: Standing) -> Callable[[], Awaitable[bool]]:
    async def is_refused() -> bool:
        return refuses(standing)

    return is_refused


def fed(standing: Standing) -> Callable[[], Awaitable[bool]]:
    async def is_fed() -> bool:
        return standing.is_fed

    return is_fed


@pytest.mark.parametrize(
    ("kind", "subject_id"),
    [
        (Kind.SESSION_ENDED, SESSION),
        (Kind.TOKEN_ENDED, TOKEN),
        (Kind.USER_FROZEN, ANNA),
    ],
)
async def test_what_was_revoked_is_refused_from_then_on(
    feed: HandMadeFeed, standing: Standing, kind: Kind, subject_id: UUID
) -> None:
    await standing.refresh()
    before, version = refuses(standing), standing.version

    feed.revocations = [revoked(1, kind, subject_id)]
    await standing.refresh()

    assert not before
    assert refuses(standing)
    assert standing.version > version


async def test_a_token_without_a_session_is_refused_by_nothing_that_ended(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.revocations = [revoked(1, Kind.SESSION_ENDED, SESSION)]
    await standing.refresh()

    assert not standing.refuses((None, TOKEN), people=(ANNA, None))


async def test_the_highest_position_of_a_subject_counts_however_they_are_read(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.revocations = [revoked(8, Kind.USER_UNFROZEN, ANNA)]
    await standing.refresh()
    feed.revocations = [revoked(7, Kind.USER_FROZEN, ANNA)]
    await standing.refresh()
    late = refuses(standing)
    feed.revocations = [revoked(9, Kind.USER_FROZEN, ANNA)]
    await standing.refresh()

    assert not late
    assert refuses(standing)


async def test_roles_are_those_of_the_last_change_whatever_the_token_tells(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.revocations = [
        revoked(2, Kind.ROLES_CHANGED, ANNA, "support"),
        revoked(3, Kind.ROLES_CHANGED, ANNA),
    ]
    await standing.refresh()

    assert standing.roles_of(ANNA, told=CUSTOMER) == frozenset()
    assert standing.roles_of(SESSION, told=CUSTOMER) == CUSTOMER


async def test_the_same_read_twice_is_no_news(feed: HandMadeFeed, standing: Standing) -> None:
    feed.revocations = [
        revoked(1, Kind.SESSION_ENDED, SESSION),
        revoked(2, Kind.DEFINITIONS_CHANGED, None),
    ]
    await standing.refresh()
    version = standing.version

    await standing.refresh()

    assert standing.version == version


async def test_roles_of_the_installation_are_known_from_the_start_and_after_each_change(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.defined = Definitions(
        roles={"teller": frozenset({"users:read"})}, permissions=frozenset({"reports:read"})
    )
    await standing.refresh()
    first = standing.permissions_of(frozenset({"teller", "nobody"}))
    feed.defined = Definitions(
        roles={"teller": frozenset({"wallets:read_any"})}, permissions=frozenset()
    )
    await standing.refresh()
    unchanged = standing.permissions_of(frozenset({"teller", "nobody"}))
    feed.revocations = [revoked(5, Kind.DEFINITIONS_CHANGED, None)]
    await standing.refresh()

    assert first == unchanged == {"users:read"}
    assert standing.permissions_of(frozenset({"teller", "nobody"})) == {"wallets:read_any"}


async def test_administrators_have_every_permission_that_was_added(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.defined = Definitions(roles={}, permissions=frozenset({"reports:read"}))
    await standing.refresh()

    assert standing.permissions_of(frozenset({"admin"})) == ROLES["admin"] | {"reports:read"}
    assert standing.permissions_of(frozenset({"support"})) == ROLES["support"]


async def test_an_installation_cannot_redefine_what_comes_with_guilder(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.defined = Definitions(
        roles={"customer": frozenset({"roles:write"})}, permissions=frozenset()
    )
    await standing.refresh()

    assert standing.permissions_of(CUSTOMER) == ROLES["customer"]


async def test_a_copy_that_was_not_fed_lately_is_read_anew_before_it_is_believed(
    feed: HandMadeFeed, standing: Standing, wall: Wall
) -> None:
    unfed = standing.is_fed
    await standing.ensure_fed()
    wall.now += PATIENCE_S
    await standing.ensure_fed()
    reads = feed.reads
    wall.now += 0.1

    await standing.ensure_fed()

    assert not unfed
    assert reads == 1
    assert feed.reads == 2
    assert standing.is_fed


async def test_nobody_gets_through_while_revocations_cannot_be_read(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.fails = OSError("away")

    with pytest.raises(Overloaded):
        await standing.ensure_fed()

    assert not standing.is_fed


async def test_many_who_wait_share_one_read_and_its_failure(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.fails = OSError("away")
    refused = await asyncio.gather(
        *(standing.ensure_fed() for _ in range(50)), return_exceptions=True
    )
    failed = feed.reads
    feed.fails = None
    await asyncio.gather(*(standing.ensure_fed() for _ in range(50)))

    assert {type(one) for one in refused} == {Overloaded}
    assert failed == 1
    assert feed.reads == 2


async def test_whoever_asks_while_a_read_is_under_way_waits_for_the_next_one(
    feed: HandMadeFeed, standing: Standing
) -> None:
    under_way = asyncio.create_task(standing.refresh())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    began = feed.reads

    await asyncio.gather(*(standing.refresh() for _ in range(10)))
    await under_way

    assert began == 1
    assert feed.reads == 2


async def test_a_commit_of_this_process_acts_before_it_is_answered(
    feed: HandMadeFeed, standing: Standing
) -> None:
    async with standing.running():
        feed.revocations = [revoked(1, Kind.USER_FROZEN, ANNA)]
        (hear,) = feed.heard_by

        await hear()

        assert refuses(standing)
    assert feed.heard_by == []


async def test_a_commit_that_cannot_be_read_back_makes_the_copy_one_nobody_believes(
    feed: HandMadeFeed, standing: Standing
) -> None:
    async with standing.running():
        feed.fails = OSError("away")
        (hear,) = feed.heard_by

        await hear()

        assert not standing.is_fed
        with pytest.raises(Overloaded):
            await standing.ensure_fed()


async def test_a_running_copy_reads_whenever_it_is_woken(
    feed: HandMadeFeed, standing: Standing
) -> None:
    async with standing.running():
        reads = feed.reads
        feed.revocations = [revoked(1, Kind.SESSION_ENDED, SESSION)]
        feed.woken.set()
        await until(refused_by(standing), "the session is refused")

    assert feed.reads > reads


async def test_a_running_copy_looks_by_itself_when_nobody_wakes_it(feed: HandMadeFeed) -> None:
    standing = Standing(feed, every_s=0.001)
    async with standing.running():
        feed.revocations = [revoked(1, Kind.SESSION_ENDED, SESSION)]
        await until(refused_by(standing), "the session is refused")

    assert len(standing) == 1


async def test_it_starts_and_goes_on_while_the_database_is_away(feed: HandMadeFeed) -> None:
    feed.fails = OSError("away")
    standing = Standing(feed, every_s=0.001)
    async with standing.running():
        away = standing.is_fed
        feed.fails = None
        await until(fed(standing), "the copy is fed")

    assert not away


async def test_reading_goes_on_where_every_transaction_was_seen(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.horizon = 40
    await standing.refresh()
    feed.horizon = 41
    await standing.refresh()
    await standing.refresh()

    assert feed.asked_after == [0, 40, 41]


async def test_a_restored_database_is_believed_from_its_beginning(
    feed: HandMadeFeed, standing: Standing
) -> None:
    feed.horizon = 4000
    feed.revocations = [revoked(900, Kind.USER_FROZEN, ANNA)]
    await standing.refresh()
    frozen, version = refuses(standing), standing.version
    feed.horizon = 70
    feed.revocations = [revoked(12, Kind.ROLES_CHANGED, ANNA, "support")]

    await standing.refresh()

    assert frozen
    assert feed.asked_after == [0, 4000, 0]
    assert not refuses(standing)
    assert standing.roles_of(ANNA, told=CUSTOMER) == {"support"}
    assert standing.version > version


async def test_what_no_token_can_be_older_than_is_forgotten(
    feed: HandMadeFeed, standing: Standing, wall: Wall
) -> None:
    feed.revocations = [
        revoked(1, Kind.SESSION_ENDED, SESSION),
        revoked(2, Kind.USER_FROZEN, ANNA),
        revoked(3, Kind.ROLES_CHANGED, ANNA, "support"),
    ]
    await standing.refresh()
    feed.revocations = []
    wall.now += KEPT_S
    await standing.refresh()
    kept = len(standing)
    wall.now += 1

    await standing.refresh()

    assert kept == 3
    assert len(standing) == 0


async def test_what_changes_again_is_kept_as_long_again(
    feed: HandMadeFeed, standing: Standing, wall: Wall, positions: Iterator[int]
) -> None:
    others = [UUID(int=number) for number in range(5)]
    feed.revocations = [revoked(next(positions), Kind.USER_FROZEN, one) for one in (ANNA, *others)]
    await standing.refresh()
    wall.now += KEPT_S - 1
    feed.revocations = [revoked(next(positions), Kind.USER_FROZEN, ANNA)]
    await standing.refresh()
    feed.revocations = []
    wall.now += 2

    await standing.refresh()

    assert len(standing) == 1
    assert refuses(standing)


@pytest.mark.parametrize("turns", range(8))
async def test_it_stops_also_when_it_is_woken_at_that_very_moment(
    feed: HandMadeFeed, turns: int
) -> None:
    async with asyncio.timeout(60), Standing(feed, every_s=3600).running():
        for _ in range(20):
            await asyncio.sleep(0)  # until it waits
        feed.woken.set()
        for _ in range(turns):
            await asyncio.sleep(0)

    assert feed.heard_by == []
