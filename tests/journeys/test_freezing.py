"""Staff freeze somebody: in every process, with their wallets, until staff let them in again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support.customer import PASSWORD, Customer, data, error
from tests.support.guilder import Running, environment, guilder
from tests.support.waiting import wait_until

CONNECTIONS = 12
"""So many that each of two processes gets some of them, as good as surely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A Guilder of several processes, and somebody who works there."""

    address: str
    http: httpx2.Client
    clara: Customer

    def everywhere(self, token: str) -> set[int]:
        """What several connections, each to whichever process takes it, answer to a token."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.address}/api/v1/auth/me"
        return {
            httpx2.get(url, headers=headers, trust_env=False, timeout=60).status_code
            for _ in range(CONNECTIONS)
        }


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Branch]:
    folder = tmp_path_factory.mktemp("freezing")
    env = environment(folder, RATE_LIMIT="off", WORKERS="2")
    with Running("up", env=env, folder=folder) as up:
        address = up.address()
        with httpx2.Client(base_url=address, trust_env=False, timeout=30) as http:
            clara = Customer(http, "Clara")
            appoint(clara, folder=folder, env=env)
            yield Branch(address=address, http=http, clara=clara)
        assert up.interrupt() == 0


def appoint(clara: Customer, *, folder: Path, env: dict[str, str]) -> None:
    clara.prove_email()
    create = ("admin", "create", "--email", clara.email, "--existing")
    made = guilder(*create, env=env, folder=folder)
    assert made.returncode == 0, made.stderr
    clara.sign_in()
    wait_until(lambda: clara.get("/rbac/roles").status_code == 200, "the appointment has acted")


def status_of(wallet_id: str, owner: Customer) -> str:
    status: str = data(owner.get(f"/wallets/{wallet_id}"))["status"]
    return status


def test_a_frozen_user_is_out_everywhere_and_gets_everything_back(branch: Branch):
    anna, ben, clara = Customer(branch.http, "Anna"), Customer(branch.http, "Ben"), branch.clara
    annas, bens = anna.open_wallet(funds="100.00"), ben.open_wallet(funds="100.00")
    path, stolen = f"/admin/users/{anna.id}", "The owner reported a stolen phone."

    def told_of_transfer() -> str | None:
        answer = ben.transfer(bens, annas, "0.01")
        return None if answer.is_success else answer.json()["error"]["code"]

    data(clara.post(f"{path}/freeze", reason=stolen))
    wait_until(lambda: branch.everywhere(anna.token) == {401}, "every process has heard")
    login = {"email": anna.email, "password": PASSWORD}
    refused = error(branch.http.post("/api/v1/auth/login", json=login), 403)
    wait_until(lambda: told_of_transfer() == "ACCOUNT_FROZEN", "her wallet has frozen")
    data(clara.post(f"{path}/unfreeze", reason="The phone was found."))
    anna.token = data(branch.http.post("/api/v1/auth/login", json=login))["token"]
    wait_until(lambda: status_of(annas, anna) == "active", "her wallet has thawed")

    assert refused["code"] == "USER_FROZEN"
    assert data(anna.transfer(annas, bens, "100.00"), 201)["status"] == "completed"
    (freeze,) = data(clara.get(path, reason="To see what was done."))["freezes"]
    assert (freeze["reason"], freeze["frozen_by"]) == (stolen, str(clara.id))


def test_a_role_acts_in_every_process(branch: Branch):
    dora, clara = Customer(branch.http, "Dora"), branch.clara
    dora.prove_email()
    path = f"/rbac/users/{dora.id}/roles"

    def answers() -> set[int]:
        headers = dora.authorization
        url = f"{branch.address}/api/v1/rbac/roles"
        return {
            httpx2.get(url, headers=headers, trust_env=False, timeout=60).status_code
            for _ in range(CONNECTIONS)
        }

    before = answers()
    given = clara.http.put(
        f"/api/v1{path}",
        json={"roles": ["support"], "reason": "Joined the support team."},
        headers=clara.authorization,
    )
    wait_until(lambda: answers() == {200}, "the role has acted")
    taken = clara.http.delete(
        f"/api/v1{path}", params={"reason": "Left again."}, headers=clara.authorization
    )
    wait_until(lambda: answers() == {403}, "its end has acted")

    assert before == {403}
    assert [given.status_code, taken.status_code] == [200, 200]
