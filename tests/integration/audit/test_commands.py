"""``guilder audit``: publishing, comparing with a copy kept elsewhere, and erasing."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import asyncpg
import httpx2
import pytest

from guilder.platform.identifiers import new_id
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.customer import Customer
from tests.support.guilder import Running, environment, guilder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Guilder that runs and publishes nothing by itself, in which something has happened."""
    folder = tmp_path_factory.mktemp("home")
    env = environment(folder, RATE_LIMIT="off", AUDIT_PUBLISH_EVERY_S="86400")
    with Running("up", env=env, folder=folder) as up:
        with httpx2.Client(base_url=up.address(), trust_env=False, timeout=30) as http:
            Customer(http, "Anna").open_wallet(funds="10.00")
        yield folder
        assert up.interrupt() == 0


def run(home: Path, *arguments: str) -> CompletedProcess[str]:
    return guilder(*arguments, env=environment(home), folder=home)


def execute(home: Path, *statements: str) -> None:
    async def work() -> None:
        server = EmbeddedPostgres(home, report=print)
        connection = await asyncpg.connect(server.url(SUPERUSER, database="guilder"))
        async with connection.transaction():
            await connection.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                await connection.execute(statement)
        await connection.close()

    asyncio.run(work())


def test_a_person_is_erased_once_and_that_is_said(home: Path):
    anna = str(new_id())

    first = run(home, "audit", "erase-person", anna, "--reason", "request 17")
    again = run(home, "audit", "erase-person", anna, "--reason", "request 17")

    assert (first.returncode, first.stdout) == (0, "Erased.\n")
    assert (again.returncode, again.stdout) == (0, "They were erased before.\n")


@pytest.mark.parametrize(
    "arguments", [["--reason", "x"], ["0193a0b4-0000-7000-8000-000000000000", "--claimed", "a"]]
)
def test_erasing_nobody_or_two_is_refused(home: Path, arguments: list[str]):
    done = run(home, "audit", "erase-person", *arguments, "--reason", "request 17")

    assert done.returncode == 1
    assert "name a person by id, or by --claimed" in done.stderr


def test_what_was_published_elsewhere_tells_of_an_end_that_was_taken_back(
    home: Path, tmp_path: Path
):
    published = run(home, "audit", "publish")
    copy = tmp_path / "elsewhere"
    shutil.copytree(home / "heads", copy)
    before = run(home, "verify", "--heads", str(copy))

    # whoever owns the database and the folder removes every trace
    shutil.rmtree(home / "heads")
    execute(
        home,
        "DELETE FROM platform.outbox WHERE id = "
        "(SELECT event_id FROM audit.records ORDER BY chain, sequence DESC LIMIT 1)",
        "DELETE FROM audit.records r USING (SELECT chain, max(sequence) AS sequence "
        "FROM audit.records GROUP BY chain ORDER BY chain LIMIT 1) AS e "
        "WHERE r.chain = e.chain AND r.sequence = e.sequence",
        "UPDATE audit.chains c SET sequence = e.sequence, hash = e.hash FROM "
        "(SELECT DISTINCT ON (chain) chain, sequence, hash FROM audit.records "
        "ORDER BY chain, sequence DESC) AS e WHERE c.chain = e.chain",
    )
    alone = json.loads(run(home, "verify", "--json").stdout)
    compared = run(home, "verify", "--heads", str(copy), "--json")

    assert published.stdout.startswith("Publication ")
    assert before.returncode == 0, before.stdout
    assert "audit.records" not in {finding["table"] for finding in alone["findings"]}
    assert compared.returncode == 1
    assert "audit.records" in {
        finding["table"] for finding in json.loads(compared.stdout)["findings"]
    }


def test_a_folder_of_heads_that_is_not_there_is_said(home: Path):
    done = run(home, "verify", "--heads", "nowhere")

    assert done.returncode != 0
    assert "nowhere" in done.stderr


def test_keys_are_changed_while_it_runs_and_what_was_published_stays_good(home: Path):
    assert run(home, "audit", "publish").returncode == 0

    rotated = run(home, "audit", "rotate-keys")
    published = run(home, "audit", "publish")
    verified = run(home, "verify", "--json")

    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.startswith("Key ")
    kid = rotated.stdout.split()[1]
    assert [path.stem for path in (home / "keys" / "heads").glob("*.jwk")] == [kid]
    assert published.returncode == 0, published.stderr
    told = json.loads(verified.stdout)
    assert [finding for finding in told["findings"] if finding["table"] == "heads"] == []
