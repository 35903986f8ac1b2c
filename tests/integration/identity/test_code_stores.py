"""Both places that codes can be kept in keep the same promises: the database, and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from guilder.identity import module
from guilder.identity.service.code_stores import CodeStore, DatabaseCodes
from guilder.identity.service.one_time_codes import OneTimeCodes, Purpose, pseudonym
from guilder.identity.service.redis_codes import RedisCodes
from guilder.identity.service.verifications import Verifying
from guilder.kernel.errors import Overloaded
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from tests.integration.identity.test_verifying import begun
from tests.support.portal import other_than, settle
from tests.support.redis import running_redis
from tests.support.town import Town

LIFE_S = 300


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest_asyncio.fixture(params=["database", "redis"])
async def codes(
    request: pytest.FixtureRequest, db: Database, redis_url: str
) -> AsyncIterator[CodeStore]:
    store: CodeStore = RedisCodes(redis_url) if request.param == "redis" else DatabaseCodes(db)
    yield store
    await store.close()


@pytest.fixture
def name() -> str:
    return f"test:{uuid4()}"


async def test_secret_is_read_until_it_is_dropped(codes: CodeStore, name: str) -> None:
    await codes.put(name, secret=b"\x00\xffone", life_s=LIFE_S)
    there = await codes.read([name, f"{name} other"])

    await codes.drop([name])

    assert there == {name: b"\x00\xffone"}
    assert await codes.read([name]) == {}
    assert await codes.read([]) == {}


async def test_newer_secret_takes_the_place_of_the_older_and_of_its_tries(
    codes: CodeStore, name: str
) -> None:
    await codes.put(name, secret=b"one", life_s=LIFE_S)
    await codes.guess(name, life_s=LIFE_S)

    await codes.put(name, secret=b"two", life_s=LIFE_S)

    assert await codes.guess(name, life_s=LIFE_S) == (b"two", 1)


async def test_tries_at_once_are_all_counted(codes: CodeStore, name: str) -> None:
    await codes.put(name, secret=b"one", life_s=LIFE_S)

    guessed = await asyncio.gather(*(codes.guess(name, life_s=LIFE_S) for _ in range(10)))

    assert sorted(tries for _, tries in guessed) == list(range(1, 11))
    assert {secret for secret, _ in guessed} == {b"one"}


async def test_name_without_a_secret_counts_alike(codes: CodeStore, name: str) -> None:
    guessed = [await codes.guess(name, life_s=LIFE_S) for _ in range(3)]

    assert [tries for _, tries in guessed] == [1, 2, 3]
    assert len({secret for secret, _ in guessed}) == 1


async def test_secret_in_the_database_is_over_after_its_life(db: Database, name: str) -> None:
    codes = DatabaseCodes(db)
    await codes.put(name, secret=b"one", life_s=0)
    there = await codes.read([name])

    secret, tries = await codes.guess(name, life_s=LIFE_S)

    assert there == {}
    assert secret != b"one"
    assert tries == 1


async def test_one_of_ten_takes_a_secret_and_nobody_another(codes: CodeStore, name: str) -> None:
    await codes.put(name, secret=b"two", life_s=LIFE_S)
    older = await codes.take(name, secret=b"one")

    taken = await asyncio.gather(*(codes.take(name, secret=b"two") for _ in range(10)))

    assert not older
    assert sorted(taken) == [False] * 9 + [True]


async def test_code_takes_five_tries_in_either_place(
    codes: CodeStore, town: Town, name: str
) -> None:
    keys = OuterKeys(town.keys.folder)
    one_time = OneTimeCodes(codes=codes, keys=keys)
    code = await one_time.make(Purpose.LOGIN, subject=name)

    async def take(entered: str) -> bool:
        return await one_time.take(Purpose.LOGIN, subject=name, code=entered)

    assert not any([await take(other_than(code)) for _ in range(4)])
    assert await take(code)
    assert not await take(code)
    later = await one_time.make(Purpose.LOGIN, subject=name)
    assert not any([await take(other_than(later)) for _ in range(5)])
    assert not await take(later)


async def test_verification_is_shown_and_confirmed_from_either_place(
    codes: CodeStore, db: Database, town: Town
) -> None:
    anna = await settle(town, "Anna")
    verifying = Verifying(db=db, keys=OuterKeys(town.keys.folder), codes=codes)
    verification_id = await begun(verifying, anna)
    portal_id = (await town.verifier.verify(anna.portal.token)).user_id

    (shown,) = await verifying.pending(portal_id)
    proof = await verifying.verify(anna.id, verification_id=shown.pending.id, code=shown.code)

    assert str(shown.pending.id) == verification_id
    assert proof.token.startswith("ver_")
    assert await codes.read([f"verification:{verification_id}"]) == {}


async def test_redis_forgets_secrets_by_itself_and_shows_no_code(
    redis_url: str, town: Town
) -> None:
    codes = RedisCodes(redis_url)
    keys = OuterKeys(town.keys.folder)
    one_time = OneTimeCodes(codes=codes, keys=keys)
    code = await one_time.make(Purpose.LOGIN, subject="anna@example.com")
    name = pseudonym(Purpose.LOGIN, "anna@example.com", keys=keys)

    async with Redis.from_url(redis_url) as looking:
        left_ms = await looking.pttl(f"guilder:code:{name}")
        kept = await looking.hgetall(f"guilder:code:{name}")

    assert 0 < left_ms <= LIFE_S * 1000
    assert code.encode() not in kept[b"secret"]
    assert "anna" not in name
    await codes.close()


async def test_redis_that_is_away_is_told(name: str) -> None:
    codes = RedisCodes("redis://127.0.0.1:1/0")

    for asking in (
        codes.put(name, secret=b"one", life_s=LIFE_S),
        codes.read([name]),
        codes.guess(name, life_s=LIFE_S),
        codes.take(name, secret=b"one"),
        codes.drop([name]),
    ):
        with pytest.raises(Overloaded):
            await asking
    await codes.close()


async def test_setting_decides_where_codes_are_kept(db: Database, redis_url: str) -> None:
    shared = module.build_codes(db=db, redis_url=redis_url)
    own = module.build_codes(db=db, redis_url=None)

    assert (type(shared), type(own)) == (RedisCodes, DatabaseCodes)
    await shared.close()
