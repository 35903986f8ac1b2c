"""Keys of indexes, and keys that are added while others run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from guilder.platform.envelopes import FIRST_KEY, KEY_BYTES, OuterKeys, key_id
from guilder.platform.identifiers import new_id
from guilder.platform.key_files import KeyUnusable, Passphrase

HERE = b"here"


def test_the_first_key_of_an_index_is_made_once_by_processes_that_start_together(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: OuterKeys(tmp_path).index_keys("contacts"), range(8)))

    assert all(keys == found[0] for keys in found)
    assert set(found[0]) == {FIRST_KEY}
    assert (tmp_path / f"contacts.{FIRST_KEY}.key").stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_added_reaches_whoever_has_the_folder(tmp_path: Path):
    running, added = OuterKeys(tmp_path), new_id()
    before = dict(running.index_keys("contacts"))

    OuterKeys(tmp_path).add_index_key("contacts", key_id=added)

    after = running.index_keys("contacts")
    assert {name: after[name] for name in before} == before
    assert set(after) == {FIRST_KEY, added}
    assert len(after[added]) == KEY_BYTES


def test_indexes_have_keys_of_their_own(tmp_path: Path):
    keys = OuterKeys(tmp_path)

    assert keys.index_keys("contacts")[FIRST_KEY] != keys.index_keys("others")[FIRST_KEY]


def test_an_outer_key_that_is_added_wraps_at_once_in_a_process_that_runs(tmp_path: Path):
    running, added = OuterKeys(tmp_path), new_id()
    before = running.wrap(b"secret", at=HERE)

    OuterKeys(tmp_path).add(added)

    after = running.wrap(b"secret", at=HERE)
    assert (key_id(before), key_id(after), running.newest_id) == (FIRST_KEY, added, added)
    assert running.unwrap(before, at=HERE) == running.unwrap(after, at=HERE) == b"secret"


def test_adding_a_key_twice_leaves_it_as_it_is(tmp_path: Path):
    keys, added = OuterKeys(tmp_path), new_id()
    keys.add(added)
    wrapped = keys.wrap(b"secret", at=HERE)

    OuterKeys(tmp_path).add(added)

    assert OuterKeys(tmp_path).unwrap(wrapped, at=HERE) == b"secret"


@pytest.mark.parametrize(
    ("name", "content"),
    [(f"contacts.{FIRST_KEY}.key", b"short"), ("contacts.mine.key", bytes(KEY_BYTES))],
)
def test_a_damaged_or_misnamed_key_of_an_index_is_named(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(KeyUnusable, match=name):
        OuterKeys(tmp_path).index_keys("contacts")


def test_keys_of_an_index_are_encrypted_by_the_passphrase(tmp_path: Path):
    passphrase = Passphrase(text="correct horse battery")
    secret = OuterKeys(tmp_path, passphrase=passphrase).index_keys("contacts")[FIRST_KEY]

    stored = (tmp_path / f"contacts.{FIRST_KEY}.key").read_bytes()

    assert secret not in stored
    with pytest.raises(KeyUnusable):
        OuterKeys(tmp_path).index_keys("contacts")
    again = OuterKeys(tmp_path, passphrase=passphrase).index_keys("contacts")
    assert again == {UUID(int=1): secret}
