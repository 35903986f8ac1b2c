"""Envelope encryption: data keys of their own for whoever is protected, wrapped by one outer key.

AES-256-GCM. What is sealed begins with a version, the id of its key and a nonce, and is bound to
its place (table, column, row), so it opens nowhere else. The key-encryption keys are files in the
key folder, readable by their owner only; the database sees wrapped data keys.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.platform.key_files import (
    REREAD_EVERY_S,
    KeyFiles,
    KeyUnusable,
    KnownKeys,
    Passphrase,
)

KEY_BYTES: Final = 32
FIRST_KEY: Final = UUID(int=1)
"""The id of the first key of a kind; those that are added later have ids that come after it."""
_VERSION: Final = b"\x01"
_ID: Final = slice(1, 17)
_NONCE: Final = slice(17, 29)
_SUFFIX: Final = ".kek"
_KEY_SUFFIX: Final = ".key"
_PSEUDONYMS: Final = "pseudonyms.key"


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

    def __init__(
        self,
        folder: Path,
        *,
        passphrase: Passphrase | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._files = KeyFiles(folder, passphrase=passphrase)
        self._known = KnownKeys[Mapping[str, bytes]](self._read, at_first={}, now=now)

    def ensure(self, *, index: str | None = None) -> None:
        """Read the keys, and make the first of each kind when there is none.

        Who has called it goes on while the files cannot be read. ``index`` is one that is kept.

        Raises:
            KeyUnusable: a key's file is damaged, or another passphrase's.
        """
        self._newest()
        self._pseudonyms()
        if index is not None:
            self.index_keys(index)

    async def learn(self) -> None:
        """Read the keys that there are, and make none: for a process that starts.

        Raises:
            KeyUnusable: a key's file is damaged, or another passphrase's.
        """
        self._known.read()

    @property
    def is_known(self) -> bool:
        """Whether this process knows every key that the folder has, as far as it has looked."""
        return self._known.is_readable or self._names() <= self._known.keys.keys()

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
            KeyUnusable: a key's file is damaged, or cannot be read any more.
        """
        wanted = key_id(wrapped)
        file = f"{wanted}{_SUFFIX}"
        secret = self._known.keys.get(file) or self._secrets().get(file)
        if secret is None:
            raise Unreadable if self._known.is_readable else self._unread(file)
        return unseal(wrapped, key=SealingKey(id=wanted, secret=secret), at=at)

    def pseudonym(self, text: str) -> UUID:
        """An id that stands for ``text``: always the same, and telling nothing without the key.

        Raises:
            KeyUnusable: its key's file is damaged.
        """
        digest = bytearray(hmac.digest(self._pseudonyms(), text.encode(), "sha256")[:16])
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
        self._make(f"{key_id}{_SUFFIX}")

    def index_keys(self, name: str) -> Mapping[UUID, bytes]:
        """The keys under which an index may be kept that finds what is encrypted, by their ids.

        The first is made when it is needed, as `FIRST_KEY`.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        return self._by_id(f"{name}.", _KEY_SUFFIX)

    def add_index_key(self, name: str, *, key_id: UUID) -> None:
        """Make a key for the index ``name``, beside those that it has.

        Raises:
            KeyUnusable: a key's file is damaged.
        """
        self.index_keys(name)
        self._make(f"{name}.{key_id}{_KEY_SUFFIX}")

    def _newest(self) -> SealingKey:
        wrapping = self._by_id("", _SUFFIX)
        newest = max(wrapping)
        return SealingKey(id=newest, secret=wrapping[newest])

    def _pseudonyms(self) -> bytes:
        if _PSEUDONYMS not in self._secrets():
            self._make(_PSEUDONYMS)
        return self._known.keys[_PSEUDONYMS]

    def _by_id(self, prefix: str, suffix: str) -> Mapping[UUID, bytes]:
        """The keys whose files are named so, by their ids; the first is made if there is none."""
        found = self._named(prefix, suffix)
        if not found:
            # one fixed name, so that processes that start together make one key
            self._make(f"{prefix}{FIRST_KEY}{suffix}")
            found = self._named(prefix, suffix)
        return found

    def _named(self, prefix: str, suffix: str) -> Mapping[UUID, bytes]:
        return {
            self._id_of(name): secret
            for name, secret in self._secrets().items()
            if name.startswith(prefix) and name.endswith(suffix)
        }

    def _id_of(self, name: str) -> UUID:
        try:
            return UUID(Path(name).stem.rpartition(".")[2])
        except ValueError as error:
            path = self._files.folder / name
            raise KeyUnusable(f"{path}: a key is named by its id, a UUID") from error

    def _secrets(self) -> Mapping[str, bytes]:
        """Every key by its file's name, those included that were added meanwhile.

        A key never changes, so files of the same names need not be read again.
        """
        if self._names() != self._known.keys.keys() and self._may_look():
            self._known.read_if_possible()
        return self._known.keys

    def _unread(self, file: str) -> KeyUnusable:
        return KeyUnusable(f"{self._files.folder / file}: not read before its folder could not be")

    def _may_look(self) -> bool:
        return self._known.is_readable or self._known.age_s >= REREAD_EVERY_S

    def _names(self) -> frozenset[str]:
        try:
            paths = list(self._files.folder.iterdir())
        except FileNotFoundError:
            return frozenset()
        return frozenset(path.name for path in paths if path.suffix in (_SUFFIX, _KEY_SUFFIX))

    def _read(self) -> Mapping[str, bytes]:
        found = self._files.read_all(_SUFFIX, _KEY_SUFFIX)
        return {path.name: _whole(path, secret) for path, secret in found.items()}

    def _make(self, name: str) -> None:
        self._files.read_or_make(name, make=lambda: os.urandom(KEY_BYTES))
        self._known.read()


def _whole(path: Path, secret: bytes) -> bytes:
    if len(secret) != KEY_BYTES:
        raise KeyUnusable(f"{path}: this is not a key of {KEY_BYTES} bytes")
    return secret
