"""What is sealed opens with its key and in its place, and nowhere else."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.envelopes import (
    KEY_BYTES,
    OuterKeys,
    SealingKey,
    Unreadable,
    key_id,
    place,
    seal,
    unseal,
)
from guilder.platform.key_files import REREAD_EVERY_S, KeyFiles, KeyUnusable, Passphrase

KEY = SealingKey(id=UUID(int=7), secret=bytes(range(KEY_BYTES)))
HERE = place("audit.records", column="personal", row=UUID(int=1))
ELSEWHERE = [
    place("audit.records", column="personal", row=UUID(int=2)),
    place("audit.records", column="details", row=UUID(int=1)),
    place("audit.others", column="personal", row=UUID(int=1)),
]


@given(st.binary(max_size=200))
def test_what_was_sealed_is_read_back(plain: bytes):
    assert unseal(seal(plain, key=KEY, at=HERE), key=KEY, at=HERE) == plain


def test_the_same_text_is_never_sealed_to_the_same_bytes():
    assert len({seal(b"anna", key=KEY, at=HERE) for _ in range(50)}) == 50


@pytest.mark.parametrize("there", ELSEWHERE)
def test_nothing_opens_in_another_place(there: bytes):
    with pytest.raises(Unreadable):
        unseal(seal(b"anna", key=KEY, at=HERE), key=KEY, at=there)


def test_every_changed_byte_and_every_cut_is_noticed():
    sealed = seal(b"anna", key=KEY, at=HERE)
    damaged = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]

    for text in [*damaged, *(sealed[:n] for n in range(len(sealed))), sealed + b"x"]:
        with pytest.raises(Unreadable):
            unseal(text, key=KEY, at=HERE)


def test_the_header_names_the_key():
    assert key_id(seal(b"anna", key=KEY, at=HERE)) == KEY.id


def test_another_key_of_the_same_name_opens_nothing():
    other = SealingKey(id=KEY.id, secret=bytes(KEY_BYTES))

    with pytest.raises(Unreadable):
        unseal(seal(b"anna", key=KEY, at=HERE), key=other, at=HERE)


def test_a_data_key_is_unwrapped_by_every_process_that_has_the_folder(tmp_path: Path):
    wrapped = OuterKeys(tmp_path).wrap(b"secret", at=HERE)

    assert OuterKeys(tmp_path).unwrap(wrapped, at=HERE) == b"secret"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.kek")} == {0o600}


def test_processes_that_start_together_make_one_key(tmp_path: Path):
    def wrap(_: int) -> bytes:
        return OuterKeys(tmp_path).wrap(b"secret", at=HERE)

    with ThreadPoolExecutor(8) as pool:
        wrapped = list(pool.map(wrap, range(8)))

    reader = OuterKeys(tmp_path)
    assert [reader.unwrap(text, at=HERE) for text in wrapped] == [b"secret"] * 8
    assert len(list(tmp_path.glob("*.kek"))) == 1


def test_a_newer_outer_key_wraps_and_the_older_still_unwraps(tmp_path: Path):
    before = OuterKeys(tmp_path).wrap(b"secret", at=HERE)
    newer = UUID(int=2**127)
    (tmp_path / f"{newer}.kek").write_bytes(bytes(KEY_BYTES))
    keys = OuterKeys(tmp_path)

    after = keys.wrap(b"secret", at=HERE)

    assert key_id(after) == newer
    assert keys.unwrap(before, at=HERE) == keys.unwrap(after, at=HERE) == b"secret"


def test_a_key_that_the_folder_does_not_have_unwraps_nothing(tmp_path: Path):
    wrapped = OuterKeys(tmp_path / "other").wrap(b"secret", at=HERE)
    keys = OuterKeys(tmp_path)

    with pytest.raises(Unreadable):
        keys.unwrap(seal(b"x", key=KEY, at=HERE), at=HERE)
    keys.wrap(b"secret", at=HERE)
    with pytest.raises(Unreadable):
        keys.unwrap(wrapped, at=HERE)


@pytest.mark.parametrize("name", [f"{UUID(int=1)}.kek", "key.kek"])
def test_a_damaged_key_file_is_named(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"short")

    with pytest.raises(KeyUnusable, match="kek"):
        OuterKeys(tmp_path).wrap(b"secret", at=HERE)


def test_a_pseudonym_is_steady_for_a_folder_and_another_elsewhere(tmp_path: Path):
    first = OuterKeys(tmp_path / "a").pseudonym("anna@example.com")

    assert OuterKeys(tmp_path / "a").pseudonym("anna@example.com") == first
    assert OuterKeys(tmp_path / "a").pseudonym("ben@example.com") != first
    assert OuterKeys(tmp_path / "b").pseudonym("anna@example.com") != first
    assert first.version == 8


PASSPHRASE = Passphrase(text="correct horse battery staple")


@dataclass
class Wall:
    """A clock on the wall, whose hands the test moves."""

    time: float = 0.0

    def __call__(self) -> float:
        return self.time


def running(folder: Path, *, wall: Wall | None = None) -> OuterKeys:
    """The keys of a process that has started without a passphrase."""
    keys = OuterKeys(folder, now=wall or Wall())
    keys.ensure(index="contacts")
    return keys


def test_a_process_goes_on_with_its_keys_when_their_files_are_encrypted(tmp_path: Path):
    keys = running(tmp_path)
    before, index = keys.wrap(b"secret", at=HERE), dict(keys.index_keys("contacts"))
    pseudonym = keys.pseudonym("anna@example.com")

    KeyFiles(tmp_path, passphrase=PASSPHRASE).encrypt()

    after = keys.wrap(b"secret", at=HERE)
    assert keys.unwrap(before, at=HERE) == keys.unwrap(after, at=HERE) == b"secret"
    assert keys.index_keys("contacts") == index
    assert keys.pseudonym("anna@example.com") == pseudonym
    assert keys.is_known


def test_a_key_that_a_running_process_cannot_read_takes_none_from_it(tmp_path: Path):
    wall = Wall()
    keys = running(tmp_path, wall=wall)
    before = keys.wrap(b"secret", at=HERE)
    KeyFiles(tmp_path, passphrase=PASSPHRASE).encrypt()
    others = OuterKeys(tmp_path, passphrase=PASSPHRASE)
    others.add(UUID(int=2**127))

    for _ in range(2):
        assert key_id(keys.wrap(b"secret", at=HERE)) == key_id(before)
        assert keys.unwrap(before, at=HERE) == b"secret"
        assert set(keys.index_keys("contacts")) == set(others.index_keys("contacts"))
        wall.time += REREAD_EVERY_S

    assert not keys.is_known
    with pytest.raises(KeyUnusable, match="kek"):
        keys.unwrap(others.wrap(b"secret", at=HERE), at=HERE)


def test_a_folder_that_can_be_read_again_is_read_again(tmp_path: Path):
    wall = Wall()
    keys = running(tmp_path, wall=wall)
    newer = tmp_path / f"{UUID(int=2**127)}.kek"
    newer.write_bytes(b"short")
    before = keys.newest_id

    newer.write_bytes(bytes(KEY_BYTES))

    assert keys.newest_id == before
    wall.time += REREAD_EVERY_S
    assert keys.newest_id == UUID(int=2**127)
    assert keys.is_known


def test_a_process_that_starts_does_not_go_on_without_its_keys(tmp_path: Path):
    running(tmp_path)
    KeyFiles(tmp_path, passphrase=PASSPHRASE).encrypt()

    with pytest.raises(KeyUnusable, match="GUILDER_KEY_PASSPHRASE"):
        running(tmp_path)
