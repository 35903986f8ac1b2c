"""One Guilder for all journeys, started as people start it, and verified after each test module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from guilder.platform.postgres.access import embedded_access
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.postgres.server import EmbeddedPostgres
from tests.support.customer import Customer
from tests.support.guilder import Running, environment, guilder

NewCustomer = Callable[[str], Customer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guilder:
    """A running Guilder. ``folder`` is where its data is."""

    address: str
    folder: Path
    http: httpx2.Client
    """Somebody without a token."""

    def superuser_url(self) -> str:
        """Its database as somebody who may see everything."""
        server = EmbeddedPostgres(self.folder, report=print)
        return server.url(SUPERUSER, database="guilder")

    def application_url(self) -> str:
        return embedded_access(EmbeddedPostgres(self.folder, report=print)).url

    def findings(self) -> list[object]:
        """What ``guilder verify --json`` finds."""
        done = guilder("verify", "--json", env=environment(self.folder), folder=self.folder)
        report = json.loads(done.stdout)
        assert report["valid"] == (done.returncode == 0)
        found: list[object] = report["findings"]
        return found


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guilder]:
    folder = tmp_path_factory.mktemp("journeys")
    env = environment(folder, RATE_LIMIT="off")
    with Running("up", env=env, folder=folder) as up:
        address = up.address()
        with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
            yield Guilder(address=address, folder=folder, http=http)
        assert up.interrupt() == 0


@pytest.fixture(scope="module")
def house(running: Guilder) -> Iterator[Guilder]:
    """The running Guilder, in which everything adds up once the module is done."""
    yield running
    assert running.findings() == []


@pytest.fixture
def customer(house: Guilder) -> NewCustomer:
    """Signs a new person up."""
    return lambda name: Customer(house.http, name)


@pytest.fixture(scope="module")
def anna(house: Guilder) -> Customer:
    return Customer(house.http, "Anna")


@pytest.fixture(scope="module")
def ben(house: Guilder) -> Customer:
    return Customer(house.http, "Ben")
