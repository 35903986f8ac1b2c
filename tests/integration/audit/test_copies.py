"""Publications reach a bucket whole and once, and wait where it is away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guilder.audit.api import NotCopied
from guilder.audit.service.publish_heads import PublishHeads
from guilder.audit.store.copies import BucketCopy
from guilder.ledger.module import build_heads
from guilder.platform.db import Database
from tests.support.archive import Archive, event
from tests.support.bucket import Bucket, bucket_server
from tests.support.guilder import environment, guilder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket_server() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        yield bucket


@pytest.fixture
def archive(db: Database, tmp_path: Path) -> Archive:
    return Archive(db=db, home=tmp_path)


def publishing(archive: Archive, bucket: Bucket) -> PublishHeads:
    """As a process that has just been started publishes."""
    return PublishHeads(
        archive.db,
        folder=archive.heads,
        keys=archive.folders.signing(),
        ledger=build_heads(),
        copy=BucketCopy(bucket.url),
    )


def here(archive: Archive) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in archive.heads.files()}


async def test_every_publication_is_in_the_bucket_as_it_is_here(archive: Archive, bucket: Bucket):
    bucket.make()
    heads = publishing(archive, bucket)

    for _ in range(3):
        await archive.hear(event())
        await heads.publish()

    assert len(here(archive)) == 4
    assert {name: bucket.read(name) for name in bucket.names()} == here(archive)


async def test_a_bucket_that_was_away_gets_what_it_has_missed(archive: Archive, bucket: Bucket):
    heads = publishing(archive, bucket)
    for _ in range(2):
        await archive.hear(event())
        with pytest.raises(NotCopied):
            await heads.publish()
    bucket.make()

    await heads.publish()

    assert bucket.names() == sorted(here(archive))


async def test_a_process_that_starts_sends_what_the_one_before_could_not(
    archive: Archive, bucket: Bucket
):
    await archive.hear(event())
    await archive.publish()
    bucket.make()

    await publishing(archive, bucket).publish()

    assert bucket.names() == sorted(here(archive))


async def test_nothing_in_the_bucket_is_written_over(archive: Archive, bucket: Bucket):
    bucket.make()
    await archive.hear(event())
    first, second = publishing(archive, bucket), publishing(archive, bucket)
    await first.publish()
    kept = {name: bucket.read(name) for name in bucket.names()}
    for path in archive.heads.files():
        path.write_bytes(b"written over")

    with pytest.raises(Exception, match="signature"):
        await second.publish()
    copied = await BucketCopy(bucket.url).send(archive.heads)

    assert copied == 0
    assert {name: bucket.read(name) for name in bucket.names()} == kept


def test_the_command_copies_too_and_says_when_it_cannot(bucket: Bucket, tmp_path: Path):
    env = environment(tmp_path, AUDIT_HEADS_S3=bucket.url)

    refused = guilder("audit", "publish", env=env, folder=tmp_path)
    bucket.make()
    copied = guilder("audit", "publish", env=env, folder=tmp_path)

    assert refused.returncode == 1
    assert "published here, and not copied to s3://heads/guilder" in refused.stderr
    assert copied.returncode == 0
    assert "0000000001.jws" in bucket.names()
