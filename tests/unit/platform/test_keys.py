"""Signing keys: made once however many start, known before they sign, gone when not needed."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from guilder.platform.key_files import REREAD_EVERY_S, KeyFiles, KeyUnusable, Passphrase
from guilder.platform.keys import (
    ACCESS_TOKEN_LIFE_S,
    PUBLISHED_BEFORE_USE_S,
    UNKNOWN_KID_EVERY_S,
    KeyFolder,
    KeyRing,
    SigningKey,
)

NOW = 1_800_000_000


class Wall:
    """A clock on the wall that a test sets."""

    def __init__(self) -> None:
        self.time = float(NOW)

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def wall() -> Wall:
    return Wall()


def key(signs_from: int) -> SigningKey:
    return SigningKey.generate(made_at=signs_from, signs_from=signs_from)


def kids_in(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.jwk")}


def start(folder: Path) -> None:
    """What every process does when it starts."""
    KeyFolder(folder).ensure()


def test_first_start_makes_one_private_key(tmp_path: Path) -> None:
    KeyFolder(tmp_path / "keys").ensure()

    (file,) = (tmp_path / "keys").glob("*.jwk")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert json.loads(file.read_text())["kid"] == file.stem


def test_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        list(processes.map(start, [tmp_path / "keys"] * 12))

    assert len(list((tmp_path / "keys").glob("*.jwk"))) == 1
    assert not list((tmp_path / "keys").glob("*.draft"))


def test_draft_of_a_process_that_died_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "left-behind.draft").write_text("{")

    KeyFolder(folder).ensure()

    assert len(list(folder.glob("*.jwk"))) == 1


def test_kid_is_the_thumbprint_of_the_key() -> None:
    # The worked example of RFC 7638 is an RSA key; for EC the members are crv, kty, x and y.
    made = key(NOW)
    bare = ECKey.import_key({k: made.public()[k] for k in ("kty", "crv", "x", "y")})

    assert made.kid == bare.thumbprint()


def test_public_key_has_no_private_part() -> None:
    assert set(key(NOW).public()) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


def test_key_comes_back_as_it_was_written() -> None:
    made = key(NOW)

    again = SigningKey.from_json(made.to_json())

    assert (again.kid, again.made_at, again.signs_from) == (made.kid, NOW, NOW)
    assert again.key.as_dict(private=True)["d"] == made.key.as_dict(private=True)["d"]


def other_curve() -> str:
    curve = ECKey.generate_key("P-384", private=True)
    members = {**curve.as_dict(private=True), "kid": curve.thumbprint(), "iat": NOW, "nbf": NOW}
    return json.dumps(members)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        json.dumps(key(NOW).public()),
        key(NOW).to_json().replace('"kid": "', '"kid": "x'),
        key(NOW).to_json().replace('"nbf"', '"nbt"'),
        key(NOW).to_json()[:-10],
        other_curve(),
    ],
    ids=["empty", "bare", "list", "null", "public", "kid", "life", "torn", "curve"],
)
def test_damaged_key_file_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.jwk").write_text(text)

    with pytest.raises(KeyUnusable, match=r"damaged\.jwk"):
        KeyFolder(tmp_path).ensure()


def test_ring_without_keys_signs_nothing() -> None:
    with pytest.raises(KeyUnusable):
        KeyRing(()).signer(NOW)


def test_newest_key_signs_once_its_time_has_come() -> None:
    old, new = key(NOW), key(NOW + 100)
    ring = KeyRing([new, old])

    assert ring.signer(NOW + 99) is old
    assert ring.signer(NOW + 100) is new


def test_clock_that_went_back_still_finds_a_key_to_sign() -> None:
    only = key(NOW)

    assert KeyRing([only]).signer(NOW - 1000) is only


def test_succeeded_key_verifies_until_its_last_token_has_expired() -> None:
    old, new = key(NOW), key(NOW + 100)
    ring = KeyRing([old, new])
    last_token_expires = NOW + 100 + REREAD_EVERY_S + ACCESS_TOKEN_LIFE_S

    assert ring.find(old.kid, last_token_expires) is old
    assert ring.valid(last_token_expires) == (old, new)
    assert ring.find(old.kid, last_token_expires + 60) is None
    assert ring.valid(last_token_expires + 60) == (new,)
    assert ring.retired(last_token_expires + 60) == (old,)


async def test_rotation_publishes_the_new_key_before_it_signs(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    first = await keys.signing_key()

    added = keys.rotate()

    assert {member["kid"] for member in await keys.public_keys()} == {first.kid, added.kid}
    assert (await keys.signing_key()).kid == first.kid
    wall.time += PUBLISHED_BEFORE_USE_S
    assert (await keys.signing_key()).kid == added.kid


async def test_rotation_deletes_keys_that_nobody_needs(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    first = await keys.signing_key()
    second = keys.rotate()
    wall.time += PUBLISHED_BEFORE_USE_S + 2 * ACCESS_TOKEN_LIFE_S

    third = keys.rotate()

    assert kids_in(tmp_path) == {second.kid, third.kid}
    assert await keys.find(first.kid) is None
    assert await keys.find(third.kid) is not None


async def test_other_process_learns_a_new_key_by_its_first_token(
    tmp_path: Path, wall: Wall
) -> None:
    ours = KeyFolder(tmp_path, now=wall)
    ours.ensure()
    theirs = KeyFolder(tmp_path, now=wall)
    theirs.ensure()
    added = theirs.rotate()
    assert await ours.find(added.kid) is None

    wall.time += UNKNOWN_KID_EVERY_S

    assert await ours.find(added.kid) is not None


async def test_key_whose_file_is_deleted_verifies_nothing(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    leaked = await keys.signing_key()
    (tmp_path / f"{leaked.kid}.jwk").unlink()

    again = KeyFolder(tmp_path, now=wall)
    again.ensure()

    assert await again.find(leaked.kid) is None
    assert (await again.signing_key()).kid != leaked.kid


QUARTER_S = 90 * 86_400


def rotate(folder: Path) -> str | None:
    """What every process's clockwork does."""
    added = KeyFolder(folder, now=lambda: NOW + QUARTER_S).rotate_when_due(after_s=QUARTER_S)
    return None if added is None else added.kid


async def test_key_is_succeeded_when_it_is_old_enough(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    first = await keys.signing_key()
    wall.time += QUARTER_S - 1
    assert keys.rotate_when_due(after_s=QUARTER_S) is None

    wall.time += 1
    added = keys.rotate_when_due(after_s=QUARTER_S)

    assert added is not None
    assert (await keys.signing_key()).kid == first.kid
    wall.time += PUBLISHED_BEFORE_USE_S
    assert (await keys.signing_key()).kid == added.kid
    assert keys.rotate_when_due(after_s=QUARTER_S) is None


def test_processes_whose_time_comes_together_add_one_key(tmp_path: Path, wall: Wall) -> None:
    KeyFolder(tmp_path, now=wall).ensure()

    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as processes:
        added = [kid for kid in processes.map(rotate, [tmp_path] * 12) if kid is not None]

    assert len(added) == 1
    assert len(kids_in(tmp_path)) == 2


def test_rotation_does_not_wait_for_another_process(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    wall.time += QUARTER_S

    with KeyFiles(tmp_path).locked():
        assert keys.rotate_when_due(after_s=QUARTER_S) is None

    assert keys.rotate_when_due(after_s=QUARTER_S) is not None


async def test_file_that_is_damaged_while_it_runs_stops_nobody(tmp_path: Path, wall: Wall) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    known = await keys.signing_key()
    (tmp_path / "damaged.jwk").write_text("{")

    wall.time += 2 * REREAD_EVERY_S

    assert await keys.signing_key() is known
    assert await keys.find(known.kid) is not None
    with pytest.raises(KeyUnusable, match=r"damaged\.jwk"):
        KeyFolder(tmp_path, now=wall).ensure()


async def test_key_that_a_running_process_cannot_read_is_told_of(
    tmp_path: Path, wall: Wall
) -> None:
    keys = KeyFolder(tmp_path, now=wall)
    keys.ensure()
    known = await keys.signing_key()
    passphrase = Passphrase(text="correct horse battery staple")
    KeyFiles(tmp_path, passphrase=passphrase).encrypt()
    wall.time += REREAD_EVERY_S

    assert await keys.signing_key() is known
    assert keys.is_known
    KeyFolder(tmp_path, passphrase=passphrase, now=wall).rotate()
    assert not keys.is_known


def test_key_that_a_rotation_deletes_meanwhile_stops_nobody(tmp_path: Path, wall: Wall) -> None:
    KeyFolder(tmp_path, now=wall).ensure()
    # as a file is that was there when the folder was listed
    (tmp_path / "deleted.jwk").symlink_to(tmp_path / "nowhere")

    KeyFolder(tmp_path, now=wall).ensure()

    assert len(KeyFiles(tmp_path).read_all(".jwk")) == 1
