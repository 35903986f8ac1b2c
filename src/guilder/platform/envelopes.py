"""Envelope encryption: data keys of their own for whoever is protected, wrapped by one outer key.

AES-256-GCM. What is sealed begins with a version, the id of its key and a nonce, and is bound to
its place (table, column, row), so it opens nowhere else. The key-encryption keys are files in the
key folder, readable by their owner only; the database sees wrapped data keys.
"""

from __future__ import annotations

import fcntl
import hmac
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.platform.keys import KeyUnusable

KEY_BYTES: Final = 32
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
    newest wraps from then on, and the older ones still unwrap.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._by_id: dict[UUID, SealingKey] = {}
        self._pseudonyms: bytes | None = None

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
            self._pseudonyms = _read_or_make(self._folder, "pseudonyms.key")
        digest = bytearray(hmac.digest(self._pseudonyms, text.encode(), "sha256")[:16])
        # version 8 (RFC 9562): bits of our own, which no other kind of id has
        digest[6], digest[8] = 0x80 | digest[6] & 0x0F, 0x80 | digest[8] & 0x3F
        return UUID(bytes=bytes(digest))

    def _newest(self) -> SealingKey:
        if not self._by_id:
            self._reread()
        if not self._by_id:
            # one fixed name, so that processes that start together make one key
            _read_or_make(self._folder, f"{UUID(int=1)}{_SUFFIX}")
            self._reread()
        return self._by_id[max(self._by_id)]

    def _reread(self) -> None:
        found = sorted(self._folder.glob(f"*{_SUFFIX}"))
        keys = [SealingKey(id=_id_of(path), secret=_read(path)) for path in found]
        self._by_id = {key.id: key for key in keys}


def _id_of(path: Path) -> UUID:
    try:
        return UUID(path.stem)
    except ValueError as error:
        raise KeyUnusable(f"{path}: a key-encryption key is named by its id, a UUID") from error


def _read(path: Path) -> bytes:
    secret = path.read_bytes()
    if len(secret) != KEY_BYTES:
        raise KeyUnusable(f"{path}: this is not a key of {KEY_BYTES} bytes")
    return secret


def _read_or_make(folder: Path, name: str) -> bytes:
    """The key in the file ``name``: there, made by another process meanwhile, or made now."""
    path = folder / name
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                _write(path, os.urandom(KEY_BYTES))
        finally:
            os.close(lock)
    return _read(path)


def _write(path: Path, secret: bytes) -> None:
    """The file appears whole or not at all, and is on disk before anything is sealed with it."""
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
