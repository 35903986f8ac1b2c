"""Key files under a passphrase: nobody else reads them, moves them, or loses one half-way."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from guilder.platform.envelopes import OuterKeys, place
from guilder.platform.identifiers import new_id
from guilder.platform.key_files import KeyFiles, KeyUnusable, Passphrase
from guilder.platform.keys import KeyFolder

ANNAS = Passphrase(text="correct horse battery staple")
BENS = Passphrase(text="a rather different passphrase")
SECRET = b"\x00\x01 what must not be read \xff"


def written(folder: Path, *, passphrase: Passphrase | None = ANNAS) -> Path:
    files = KeyFiles(folder, passphrase=passphrase)
    with files.locked():
        files.write("one.key", SECRET)
    return folder / "one.key"


def test_what_was_written_is_read_with_the_passphrase(tmp_path: Path):
    path = written(tmp_path)

    assert KeyFiles(tmp_path, passphrase=ANNAS).read(path) == SECRET
    assert b"must not be read" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("passphrase", [None, BENS], ids=["none", "another"])
def test_without_the_passphrase_nothing_is_read(passphrase: Passphrase | None, tmp_path: Path):
    path = written(tmp_path)

    with pytest.raises(KeyUnusable, match="GUILDER_KEY_PASSPHRASE"):
        KeyFiles(tmp_path, passphrase=passphrase).read(path)


def test_a_file_under_another_name_is_refused(tmp_path: Path):
    path = written(tmp_path).rename(tmp_path / "two.key")

    with pytest.raises(KeyUnusable, match="changed"):
        KeyFiles(tmp_path, passphrase=ANNAS).read(path)


def test_every_changed_character_is_noticed(tmp_path: Path):
    path = written(tmp_path)
    files = KeyFiles(tmp_path, passphrase=ANNAS)
    good = path.read_bytes()
    mark = len(b"guilder-key 1 ")

    for at in (mark, mark + 8, mark + 14, -40, -10, -3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at:][1:])
        with pytest.raises(KeyUnusable):
            files.read(path)
    path.write_bytes(good[:-20])
    with pytest.raises(KeyUnusable):
        files.read(path)


def test_a_file_cannot_ask_for_more_work_than_is_bearable(tmp_path: Path):
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"scrypt:16", b"scrypt:40"))

    with pytest.raises(KeyUnusable):
        KeyFiles(tmp_path, passphrase=ANNAS).read(path)


def test_a_short_passphrase_is_refused():
    with pytest.raises(KeyUnusable, match="12 characters"):
        Passphrase(text="short")


def test_a_passphrase_is_in_no_representation():
    changed = Passphrase(text=ANNAS.text, former=BENS.text)

    assert ANNAS.text not in repr(changed)
    assert BENS.text not in repr(changed)


async def test_signing_keys_are_encrypted_and_sign_as_before(tmp_path: Path):
    KeyFolder(tmp_path, passphrase=ANNAS).ensure()

    again = KeyFolder(tmp_path, passphrase=ANNAS)
    key = await again.signing_key()

    (file,) = KeyFiles(tmp_path).every()
    assert file.stem == key.kid
    assert key.key.as_dict(private=True)["d"].encode() not in file.read_bytes()
    with pytest.raises(KeyUnusable, match=file.name):
        KeyFolder(tmp_path).ensure()


def test_keys_that_encrypt_are_encrypted_too(tmp_path: Path):
    here = place("identity.users", column="email", row=new_id())
    wrapped = OuterKeys(tmp_path, passphrase=ANNAS).wrap(b"secret", at=here)

    assert OuterKeys(tmp_path, passphrase=ANNAS).unwrap(wrapped, at=here) == b"secret"
    with pytest.raises(KeyUnusable, match="encrypted"):
        OuterKeys(tmp_path).unwrap(wrapped, at=here)


async def test_keys_made_before_are_encrypted_on_demand(tmp_path: Path):
    clear = KeyFolder(tmp_path)
    clear.ensure()
    kid = (await clear.signing_key()).kid
    pseudonym = OuterKeys(tmp_path).pseudonym("anna@example.com")

    count = KeyFiles(tmp_path, passphrase=ANNAS).encrypt()

    assert count == 2
    assert KeyFiles(tmp_path, passphrase=ANNAS).encrypt() == 0
    assert (await KeyFolder(tmp_path, passphrase=ANNAS).signing_key()).kid == kid
    outer = OuterKeys(tmp_path, passphrase=ANNAS)
    assert outer.pseudonym("anna@example.com") == pseudonym
    for path in KeyFiles(tmp_path).every():
        with pytest.raises(KeyUnusable):
            KeyFiles(tmp_path).read(path)


def test_a_change_of_the_passphrase_goes_on_where_it_was_cut(tmp_path: Path):
    files = KeyFiles(tmp_path, passphrase=ANNAS)
    with files.locked():
        for name in ("one.key", "two.key", "three.key"):
            files.write(name, name.encode())
    changing = KeyFiles(tmp_path, passphrase=Passphrase(text=BENS.text, former=ANNAS.text))
    with changing.locked():
        changing.write("two.key", b"two.key")

    assert changing.encrypt() == 2

    changed = KeyFiles(tmp_path, passphrase=BENS)
    assert [changed.read(path) for path in changed.every()] == [
        b"one.key",
        b"three.key",
        b"two.key",
    ]


def test_a_passphrase_that_opens_nothing_changes_nothing(tmp_path: Path):
    path = written(tmp_path)
    before = path.read_bytes()

    with pytest.raises(KeyUnusable):
        KeyFiles(tmp_path, passphrase=BENS).encrypt()

    assert path.read_bytes() == before


def test_encrypting_needs_a_passphrase(tmp_path: Path):
    with pytest.raises(KeyUnusable, match="GUILDER_KEY_PASSPHRASE"):
        KeyFiles(tmp_path).encrypt()


def test_those_who_make_the_same_key_at_once_get_one(tmp_path: Path):
    numbers = iter(range(100))

    def make() -> bytes:
        return b"key %d" % next(numbers)

    with ThreadPoolExecutor(6) as threads:
        made = list(
            threads.map(
                lambda _: KeyFiles(tmp_path, passphrase=ANNAS).read_or_make("a.key", make=make),
                range(12),
            )
        )

    assert set(made) == {b"key 0"}
