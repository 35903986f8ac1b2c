"""``guilder demo`` fills an installation with activity, once, and leaves the ledger whole."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from guilder.apps.demo.cast import LOST, PASSWORD, PEOPLE
from tests.support.guilder import Running, environment, guilder


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data folder of a demonstration, and what the command printed."""
    folder = tmp_path_factory.mktemp("demo")
    done = guilder("demo", env=environment(folder), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_demo_says_who_can_sign_in_and_what_was_refused(filled: tuple[Path, str]):
    _, said = filled

    assert PEOPLE[0].email in said
    assert PASSWORD in said
    for code in ("ACCOUNT_FROZEN", "INSUFFICIENT_FUNDS", "LIMIT_EXCEEDED"):
        assert code in said


def test_the_ledger_is_whole_after_the_demo(filled: tuple[Path, str]):
    folder, _ = filled

    verified = guilder("verify", "--json", env=environment(folder), folder=folder)

    assert json.loads(verified.stdout)["findings"] == []


def test_a_second_demo_changes_nothing(filled: tuple[Path, str]):
    folder, _ = filled

    again = guilder("demo", env=environment(folder), folder=folder)

    assert again.returncode == 0
    assert again.stdout.startswith("The demo is there already.")


def test_somebody_of_the_demo_signs_in_and_sees_months_of_payments(filled: tuple[Path, str]):
    folder, _ = filled
    with Running("up", env=environment(folder), folder=folder) as up:
        api = f"{up.address()}/api/v1"
        signed_in = httpx2.post(
            f"{api}/auth/login",
            json={"email": LOST.email, "password": PASSWORD},
            timeout=60,
        )
        headers = {"Authorization": f"Bearer {signed_in.json()['data']['token']}"}
        wallets = httpx2.get(f"{api}/wallets", headers=headers, timeout=60).json()["data"]
        payments = httpx2.get(f"{api}/transactions?limit=200", headers=headers, timeout=60).json()[
            "data"
        ]
        assert up.interrupt() == 0

    everyday = next(wallet for wallet in wallets if wallet["currency"] == LOST.place)
    months = {payment["effective_at"][:7] for payment in payments}
    assert everyday["status"] == "frozen"
    assert len(months) >= 3
    assert payments[0]["failure_code"] == "ACCOUNT_FROZEN"


def test_the_demo_is_refused_in_production(tmp_path: Path):
    production = {"ALLOWED_HOSTS": "bank.example", "PUBLIC_URL": "https://bank.example"}
    env = environment(tmp_path / "data", ENV="production", **production)

    done = guilder("demo", env=env, folder=tmp_path)

    assert done.returncode == 1
    assert "the demo needs the sandbox" in done.stderr
    assert not (tmp_path / "data").exists()
