"""The public keys over HTTP: kept by clients, asked for again cheaply, changed by a rotation."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from guilder.identity import module
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.key_files import KeyFiles
from guilder.platform.keys import JWKS_PATH, KeyFolder
from guilder.platform.module import Job
from tests.support.town import CHEAP, Town

QUARTER_S = 90 * 86_400


@pytest.mark.parametrize("around", ["{}", "W/{}", '"other", {}', "*"])
async def test_keys_that_a_client_has_are_not_sent_again(around: str, town: Town) -> None:
    tag = (await town.http.get(JWKS_PATH)).headers["etag"]

    answer = await town.http.get(JWKS_PATH, headers={"If-None-Match": around.format(tag)})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == tag
    assert answer.headers["cache-control"] == "public, max-age=60"


async def test_a_rotation_changes_what_is_published(town: Town) -> None:
    tag = (await town.http.get(JWKS_PATH)).headers["etag"]

    added = town.keys.rotate()

    answer = await town.http.get(JWKS_PATH, headers={"If-None-Match": tag})
    assert answer.status_code == 200
    assert answer.headers["etag"] != tag
    assert added.kid in {key["kid"] for key in answer.json()["keys"]}


class Wall:
    """A clock on the wall that a test sets."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


def rotations(db: Database, keys: KeyFolder, *, after_s: float) -> list[Job]:
    """What identity does by itself about its keys."""
    identity = module.build(
        db=db,
        keys=keys,
        contacts=OuterKeys(keys.folder),
        password_cost=CHEAP,
        rotate_keys_after_s=after_s,
    )
    return [job for job in identity.jobs if job.name == "identity.rotate_keys"]


async def test_a_key_is_succeeded_by_itself_when_it_has_grown_old(
    db: Database, tmp_path: Path
) -> None:
    wall = Wall()
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    (job,) = rotations(db, keys, after_s=QUARTER_S)
    counts = []

    for passed_s in (0, QUARTER_S - 60, 60, 60, QUARTER_S):
        wall.time += passed_s
        await job.run()
        counts.append(len(list(KeyFiles(tmp_path).every())))

    # the third looks just in time, the fourth finds a young key, the last deletes the first
    assert counts == [1, 1, 2, 2, 2]


async def test_keys_are_left_alone_where_that_is_wished(db: Database, tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path)
    keys.ensure()

    assert rotations(db, keys, after_s=0) == []
