"""Envelope encryption: data keys of their own for whoever is protected, wrapped by one outer key.

AES-256-GCM. What is sealed begins with a version, the id of its key and a nonce, and is bound to
its place (table, column, row), so it opens nowhere else. The key-encryption keys are files in the
key folder, readable by their owner only; the database sees wrapped data keys.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.platform.key_files import KeyFiles, KeyUnusable, Passphrase

KEY_BYTES: Final = 32
FIRST_KEY: Final = UUID(int=1)
"""The id of the first key of a kind; those that are added later have ids that come after it."""
_VERSION: Final = b"\x01"
_ID: Final = slice(1, 17)
_NONCE: Final = slice(17, 29)
_SUFFIX: Final = ".kek"


class Unreadable(Exception):
    """What was sealed was changed, belongs elsewhere, or its key is another or is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """A key and the id that what it seals begins with."""

    id: UUID
    secret: bytes = field(repr=False)


def place(table: str, *, column: str, row: UUID) -> bytes:
    """What something sealed is bound to."""
    return f"{table}|{column}|{row}".encode()


def seal(plain: bytes, *, key: SealingKey, at: bytes) -> bytes:
    """``plain`` encrypted, readable with ``key`` and only as what stands at ``at``."""
    nonce = os.urandom(12)
    return _VERSION + key.id.bytes + nonce + AESGCM(key.secret).encrypt(nonce, plain, at)


def key_id(sealed: bytes) -> UUID:
    """The id of the key that ``sealed`` needs.

    Raises:
        Unreadable: it does not begin as what is sealed does.
    """
    if sealed[:1] != _VERSION or len(sealed) < _NONCE.stop:
        raise Unreadable
    return UUID(bytes=sealed[_ID])


def unseal(sealed: bytes, *, key: SealingKey, at: bytes) -> bytes:
    """What was given to `seal`.

    Raises:
        Unreadable: it was changed, stood elsewhere, or has another key.
    """
    if key_id(sealed) != key.id:
        raise Unreadable
    try:
        return AESGCM(key.secret).decrypt(sealed[_NONCE], sealed[_NONCE.stop :], at)
    except InvalidTag as error:
        raise Unreadable from error


class OuterKeys:
    """The key-encryption keys of one folder, and the key of its pseudonyms.

    The first of each is made when it is needed. An operator may add a key-encryption key: the
    newest wraps from then on, and the older ones still unwrap. ``passphrase`` encrypts the files.
    """

    def __init__(self, folder: Path, *, passphrase: Passphrase | None = None) -> None:
        self._files = KeyFiles(folder, passphrase=passphrase)
        self._by_id: dict[UUID, SealingKey] = {}
        self._pseudonyms: bytes | None = None
        self._index_keys: dict[str, dict[UUID, bytes]] = {}
        self._read_at: int | None = None

    def wrap(self, secret: bytes, *, at: bytes) -> bytes:
        """A data key as it may be stored.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        return seal(secret, key=self._newest(), at=at)

    def unwrap(self, wrapped: bytes, *, at: bytes) -> bytes:
        """The data key that `wrap` was given.

        Raises:
            Unreadable: it was changed, or the folder does not have its key.
            KeyUnusable: a key's file is damaged.
        """
        wanted = key_id(wrapped)
        if wanted not in self._by_id:
            self._reread()
        key = self._by_id.get(wanted)
        if key is None:
            raise Unreadable
        return unseal(wrapped, key=key, at=at)

    def pseudonym(self, text: str) -> UUID:
        """An id that stands for ``text``: always the same, and telling nothing without the key.

        Raises:
            KeyUnusable: its key's file is damaged.
        """
        if self._pseudonyms is None:
            self._pseudonyms = self._read_or_make("pseudonyms.key")
        digest = bytearray(hmac.digest(self._pseudonyms, text.encode(), "sha256")[:16])
        # version 8 (RFC 9562): bits of our own, which no other kind of id has
        digest[6], digest[8] = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
        return UUID(bytes=bytes(digest))

    @property
    def newest_id(self) -> UUID:
        """The id of the key-encryption key that wraps.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        return self._newest().id

    def add(self, key_id: UUID) -> None:
        """Make a key-encryption key. Every process that has the folder wraps with it at once.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        self._read_or_make(f"{key_id}{_SUFFIX}")

    def index_keys(self, name: str) -> Mapping[UUID, bytes]:
        """The keys under which an index may be kept that finds what is encrypted, by their ids.

        The first is made when it is needed, as `FIRST_KEY`.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        self._reread_if_changed()
        if name not in self._index_keys:
            self._read_or_make(_index_file(name, FIRST_KEY))
            self._index_keys[name] = {
                _id_of(path): _whole(path, self._files.read(path))
                for path in self._files.folder.glob(_index_file(name, "*"))
            }
        return self._index_keys[name]

    def add_index_key(self, name: str, *, key_id: UUID) -> None:
        """Make a key for the index ``name``, beside those that it has.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        self.index_keys(name)
        self._read_or_make(_index_file(name, key_id))

    def _newest(self) -> SealingKey:
        self._reread_if_changed()
        if not self._by_id:
            # one fixed name, so that processes that start together make one key
            self._read_or_make(f"{FIRST_KEY}{_SUFFIX}")
            self._reread()
        return self._by_id[max(self._by_id)]

    def _reread_if_changed(self) -> None:
        """Learn of keys that were added meanwhile: a file that comes changes its folder."""
        if self._changed_at() != self._read_at:
            self._reread()

    def _changed_at(self) -> int | None:
        folder = self._files.folder
        return folder.stat().st_mtime_ns if folder.is_dir() else None

    def _reread(self) -> None:
        # before the files are, so that what comes meanwhile is read the next time
        self._read_at = self._changed_at()
        self._index_keys.clear()
        found = [
            SealingKey(id=_id_of(path), secret=_whole(path, self._files.read(path)))
            for path in self._files.ending(_SUFFIX)
        ]
        self._by_id = {key.id: key for key in found}

    def _read_or_make(self, name: str) -> bytes:
        secret = self._files.read_or_make(name, make=lambda: os.urandom(KEY_BYTES))
        return _whole(self._files.folder / name, secret)


def _index_file(name: str, key_id: UUID | str) -> str:
    return f"{name}.{key_id}.key"


def _id_of(path: Path) -> UUID:
    try:
        return UUID(path.stem.rpartition(".")[2])
    except ValueError as error:
        raise KeyUnusable(f"{path}: a key is named by its id, a UUID") from error


def _whole(path: Path, secret: bytes) -> bytes:
    if len(secret) != KEY_BYTES:
        raise KeyUnusable(f"{path}: this is not a key of {KEY_BYTES} bytes")
    return secret
