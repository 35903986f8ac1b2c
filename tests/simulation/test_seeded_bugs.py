"""The checker itself is tested: it finds each of these bugs, and nothing where there is none.

A run that did not come across what it judges is unknown, which is no pass on either side.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from guilder.platform.postgres.access import create_database, drop_database
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.clock import set_clock
from tests.support.database import OwnDatabase
from tests.support.payer import ROOT
from tests.support.random_days import Verdict
from tests.support.seeded_bugs import BUGS, SOURCE, Bug, copy_with

SEEDS = (1, 2, 3)
AT_ONCE = 2
"""Half of a run is the start of its process, so they are worth two processors."""

Runs = Mapping[Bug | int, asyncio.Task[Verdict]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(
    postgres: EmbeddedPostgres,
    template: str,
    database_numbers: Iterator[int],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Runs]:
    """All runs, on their way: with a bug and the first seed, or without and a seed."""
    room = asyncio.Semaphore(AT_ONCE)

    async def judged(bug: Bug | None, seed: int) -> Verdict:
        async with room:
            name = f"test_{next(database_numbers)}"
            await create_database(postgres, database=name, template=template)
            source = SOURCE.parent
            if bug is not None:
                source = copy_with(bug, folder=tmp_path_factory.mktemp("source"))
            told = await _told(OwnDatabase(server=postgres, name=name), source, seed=seed)
            await drop_database(postgres, database=name)
            return told

    made: Runs = {seed: asyncio.create_task(judged(None, seed)) for seed in SEEDS} | {
        bug: asyncio.create_task(judged(bug, SEEDS[0])) for bug in BUGS
    }
    yield made
    for run in made.values():
        run.cancel()
    await asyncio.gather(*made.values(), return_exceptions=True)


@pytest.mark.parametrize("seed", SEEDS)
async def test_some_days_of_the_code_as_it_is_are_valid(runs: Runs, seed: int):
    told = await runs[seed]

    assert (told.verdict, told.why) == ("valid", "")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what.replace(" ", "_"))
async def test_some_days_of_code_with_this_bug_are_invalid(runs: Runs, bug: Bug):
    told = await runs[bug]

    assert told.verdict == "invalid", told.why


async def _told(database: OwnDatabase, source: Path, *, seed: int) -> Verdict:
    """What the days of a seed say of this source."""
    superuser = await asyncpg.connect(database.url(SUPERUSER))
    await set_clock(superuser)
    await superuser.close()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.random_days", database.url(), database.url(SUPERUSER), str(seed)),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        lines, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    told = msgspec.json.decode(lines, type=Verdict)
    assert Path(told.source).is_relative_to(source)
    return told
