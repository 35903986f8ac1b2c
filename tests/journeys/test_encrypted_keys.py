"""Somebody runs Guilder under a passphrase: no key lies open, and everything works as before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import httpx2
import pytest

from guilder.platform.key_files import SECRET_SUFFIXES, Passphrase
from guilder.platform.keys import KeyFolder
from tests.support.customer import PASSWORD, Customer, data
from tests.support.guilder import PATIENCE_S, Running, environment, guilder

PASSPHRASE = "correct horse battery staple"
OTHER = "another passphrase than that"


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[httpx2.Client]:
    """Guilder, until the block ends, and a client of it."""
    env = environment(folder, RATE_LIMIT="off", AUDIT_PUBLISH_EVERY_S="1", **settings)
    with Running("up", env=env, folder=folder) as up:
        with httpx2.Client(base_url=up.address(), trust_env=False, timeout=30) as http:
            yield http
        assert up.interrupt() == 0


def secrets_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in SECRET_SUFFIXES]


def lies_open(path: Path) -> bool:
    return not path.read_bytes().startswith(b"guilder-key ")


def test_a_data_folder_is_put_under_a_passphrase_and_people_stay_signed_in(tmp_path: Path):
    home = tmp_path
    with running(home) as http:
        anna = Customer(http, "Anna")
        anna.open_wallet(funds="10.00")
    keys = home / "keys"
    assert any(map(lies_open, secrets_in(keys)))

    encrypted = guilder(
        "keys", "encrypt", env=environment(home, KEY_PASSPHRASE=PASSPHRASE), folder=home
    )

    assert encrypted.returncode == 0, encrypted.stderr
    with running(home, KEY_PASSPHRASE=PASSPHRASE) as http:
        me = data(http.get("/api/v1/auth/me", headers=anna.authorization))
        assert me["email"] == anna.email
        again = {"email": anna.email, "password": PASSWORD}
        assert data(http.post("/api/v1/auth/login", json=again))["user"]["email"] == anna.email
        Customer(http, "Ben").open_wallet(funds="10.00")
    found = secrets_in(keys)
    assert {path.suffix for path in found} == set(SECRET_SUFFIXES)
    assert not [path for path in found if lies_open(path)]


def encrypt(home: Path, *, passphrase: str, former: str | None = None) -> None:
    """What an operator does while Guilder runs."""
    old: list[str] = []
    if former is not None:
        (home / "old.txt").write_text(former)
        old = ["--former-passphrase-file", str(home / "old.txt")]
    done = guilder(
        "keys", "encrypt", *old, env=environment(home, KEY_PASSPHRASE=passphrase), folder=home
    )
    assert done.returncode == 0, done.stderr


def live(somebody: Customer) -> dict[str, str]:
    """Sign in, and sign in with a code; answer the headers of whoever has done so."""
    again = {"email": somebody.email, "password": PASSWORD}
    assert data(somebody.http.post("/api/v1/auth/login", json=again))["token"]
    named = {"email": somebody.email}
    data(somebody.http.post("/api/v1/auth/otp/request", json=named), 202)
    sent = {**named, "otp": code_for(somebody)}
    signed_in = data(somebody.http.post("/api/v1/auth/otp/verify", json=sent))
    return {"Authorization": f"Bearer {signed_in['token']}"}


def code_for(somebody: Customer) -> str:
    """The code that they are sent to sign in with, once they are."""
    deadline = monotonic() + PATIENCE_S
    while True:
        for mail in data(somebody.get("/notifications/sandbox-outbox")):
            if found := re.search(r"^(\d{6}) is your code to sign in", mail["short"]):
                return found[1]
        assert monotonic() < deadline


def test_nobody_notices_when_the_keys_are_encrypted_while_guilder_runs(tmp_path: Path):
    with running(tmp_path) as http:
        encrypt(tmp_path, passphrase=PASSPHRASE)

        # who comes right after the start finds a process that has used no key so far
        anna = Customer(http, "Anna")
        as_anna = live(anna)
        assert http.get("/health/ready").json()["data"]["checks"]["keys"] is True
    with running(tmp_path, KEY_PASSPHRASE=PASSPHRASE) as http:
        encrypt(tmp_path, passphrase=OTHER, former=PASSPHRASE)

        live(Customer(http, "Ben"))
    with running(tmp_path, KEY_PASSPHRASE=OTHER) as http:
        assert data(http.get("/api/v1/auth/me", headers=as_anna))["email"] == anna.email


@pytest.mark.parametrize("given", [{}, {"KEY_PASSPHRASE": OTHER}], ids=["none", "another"])
def test_it_does_not_start_without_the_passphrase(given: dict[str, str], tmp_path: Path):
    KeyFolder(tmp_path / "keys", passphrase=Passphrase(text=PASSPHRASE)).ensure()

    refused = guilder("up", env=environment(tmp_path, **given), folder=tmp_path)

    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("guilder: ")]
    assert "GUILDER_KEY_PASSPHRASE" in line
    assert OTHER not in refused.stderr
