"""Files of secret keys: whole or not at all, their owner's alone, encrypted under a passphrase.

Without a passphrase a file is what it holds. With one it is a line that says how the passphrase
becomes a key (scrypt), and what that key has encrypted (AES-256-GCM), bound to the file's name.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import scrypt
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from guilder.platform.startup import CannotStart

LEAST_PASSPHRASE_CHARACTERS: Final = 12
SECRET_SUFFIXES: Final = (".jwk", ".kek", ".key")
"""How the name of a file ends that holds a secret."""
REREAD_EVERY_S: Final = 10
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_LOG_COST: Final = 16
_BLOCK: Final = 8
_MOST_MEMORY: Final = 256 * 1024 * 1024
_MARK: Final = b"guilder-key 1 "
# The cost is as bounded as it is written, so that a file cannot make its reader work for ever.
_SEALED: Final = re.compile(
    rb"guilder-key 1 scrypt:(1[4-8]):8:1 ([A-Za-z0-9+/]{22}==) ([A-Za-z0-9+/]{40,16384}={0,2})\n?"
)


Known = TypeVar("Known")
_log = structlog.get_logger("guilder.keys")


class KeyUnusable(CannotStart):
    """A key file cannot be trusted or read, or there is none where one is needed."""


class KnownKeys(Generic[Known]):
    """What a process knows of a folder's keys: replaced as a whole by what ``read`` answers.

    Who starts must be able to read them. Who has keys goes on with these while they cannot be read,
    because another passphrase has encrypted the files, say.
    """

    def __init__(
        self,
        read: Callable[[], Known],
        *,
        at_first: Known,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._now = now
        self._looked_at = float("-inf")
        self.keys = at_first
        self.is_readable = True

    @property
    def age_s(self) -> float:
        """How long ago somebody looked, whether or not anything could be read."""
        return self._now() - self._looked_at

    def read(self) -> None:
        """Learn what the folder holds.

        Raises:
            KeyUnusable: a file is damaged, or another passphrase's; what was known stays.
        """
        # before it is read, so that what comes meanwhile is not thought of as seen
        started = self._now()
        self.keys = self._read()
        self._looked_at, self.is_readable = started, True

    def read_if_possible(self) -> None:
        """Learn what the folder holds, or say in the log that it cannot be read.

        Raises:
            KeyUnusable: as `read`, while nothing is known.
        """
        try:
            self.read()
        except KeyUnusable as problem:
            if not self.keys:
                raise
            self._looked_at, self.is_readable = self._now(), False
            _log.error("keys.unreadable", problem=str(problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passphrase:
    """What encrypts key files. ``former`` still opens those that an earlier one encrypted."""

    text: str = field(repr=False)
    former: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.text) < LEAST_PASSPHRASE_CHARACTERS:
            least = LEAST_PASSPHRASE_CHARACTERS
            raise KeyUnusable(f"the passphrase of the keys has fewer than {least} characters")


class KeyFiles:
    """The key files of one folder, shared by every process that has it."""

    def __init__(self, folder: Path, *, passphrase: Passphrase | None = None) -> None:
        self.folder = folder
        self._passphrase = passphrase

    def ending(self, suffix: str) -> Sequence[Path]:
        """The files with such a name, in order of their names."""
        return sorted(self.folder.glob(f"*{suffix}"))

    def every(self) -> Sequence[Path]:
        """Every file that holds a secret."""
        return [path for suffix in SECRET_SUFFIXES for path in self.ending(suffix)]

    def read(self, path: Path) -> bytes:
        """The key in a file of this folder.

        Raises:
            KeyUnusable: it was changed, or no passphrase that is known opens it.
        """
        try:
            return self._opened(path)
        except OSError as error:
            raise KeyUnusable(f"{path}: {error}") from error

    def read_all(self, *suffixes: str) -> Mapping[Path, bytes]:
        """The keys in the files with such names, but for those that are deleted meanwhile.

        Raises:
            KeyUnusable: as `read`.
        """
        found = {}
        for path in [path for suffix in suffixes for path in self.ending(suffix)]:
            # a rotation deletes what nothing needs any more, at any time
            with suppress(FileNotFoundError):
                found[path] = self._opened(path)
        return found

    def _opened(self, path: Path) -> bytes:
        stored = path.read_bytes()
        if not stored.startswith(_MARK):
            return stored
        if self._passphrase is None:
            raise KeyUnusable(f"{path} is encrypted: set GUILDER_KEY_PASSPHRASE")
        for text in (self._passphrase.text, self._passphrase.former):
            secret = None if text is None else _opened(stored, passphrase=text, name=path.name)
            if secret is not None:
                return secret
        raise KeyUnusable(f"{path}: it was changed, or GUILDER_KEY_PASSPHRASE is not its own")

    def write(self, name: str, secret: bytes) -> None:
        """Store a key. The file appears whole or not at all, and is on disk when this returns.

        Call it while holding the lock.
        """
        self._replace(self.folder / name, self._sealed(secret, name=name))

    def read_or_make(self, name: str, *, make: Callable[[], bytes]) -> bytes:
        """The key in the file ``name``: there, made by another process meanwhile, or made now.

        Raises:
            KeyUnusable: it was changed, or no passphrase that is known opens it.
        """
        path = self.folder / name
        if not path.exists():
            with self.locked():
                if not path.exists():
                    self.write(name, make())
        return self.read(path)

    def publish(self, name: str, text: bytes) -> None:
        """Store what is no secret, as whole and as durable as a key."""
        self._replace(self.folder / name, text)

    def delete(self, path: Path) -> None:
        """Delete a key that nothing needs any more."""
        path.unlink(missing_ok=True)

    def encrypt(self) -> int:
        """Encrypt every file that the passphrase itself does not open yet; answer how many.

        It can be killed at any point and called again.

        Raises:
            KeyUnusable: there is no passphrase, or a file cannot be read.
        """
        if self._passphrase is None:
            raise KeyUnusable("there is no passphrase: set GUILDER_KEY_PASSPHRASE")
        if not self.folder.is_dir():
            return 0
        with self.locked():
            wanting = [path for path in self.every() if not self._is_current(path)]
            secrets = [(path.name, self.read(path)) for path in wanting]
            for name, secret in secrets:
                self.write(name, secret)
        return len(secrets)

    def _is_current(self, path: Path) -> bool:
        stored = path.read_bytes()
        return (
            self._passphrase is not None
            and stored.startswith(_MARK)
            and _opened(stored, passphrase=self._passphrase.text, name=path.name) is not None
        )

    def _sealed(self, secret: bytes, *, name: str) -> bytes:
        if self._passphrase is None:
            return secret
        salt = self._salt()
        head = b"scrypt:%d:%d:1 %s" % (_LOG_COST, _BLOCK, b64encode(salt))
        key = _derived(self._passphrase.text, salt=salt, log_cost=_LOG_COST)
        nonce = os.urandom(_NONCE_BYTES)
        text = nonce + AESGCM(key).encrypt(nonce, secret, _bound(head, name=name))
        return _MARK + head + b" " + b64encode(text) + b"\n"

    def _salt(self) -> bytes:
        """That of the folder's other files, so that one derivation opens them all."""
        for path in self.every():
            if found := _SEALED.fullmatch(path.read_bytes()):
                return b64decode(found[2])
        return os.urandom(_SALT_BYTES)

    def _replace(self, path: Path, content: bytes) -> None:
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time, of all processes that have the folder."""
        with self._lock(fcntl.LOCK_EX):
            yield

    @contextmanager
    def locked_if_free(self) -> Iterator[bool]:
        """As `locked`, or False at once while another process writes."""
        try:
            with self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield True
        except BlockingIOError:
            yield False

    @contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def _opened(stored: bytes, *, passphrase: str, name: str) -> bytes | None:
    found = _SEALED.fullmatch(stored)
    if found is None:
        return None
    key = _derived(passphrase, salt=b64decode(found[2]), log_cost=int(found[1]))
    head = stored[len(_MARK) : found.start(3) - 1]
    try:
        text = b64decode(found[3])
        return AESGCM(key).decrypt(
            text[:_NONCE_BYTES], text[_NONCE_BYTES:], _bound(head, name=name)
        )
    except (InvalidTag, ValueError):
        return None


def _bound(head: bytes, *, name: str) -> bytes:
    return head + b"|" + name.encode()


@lru_cache(maxsize=16)
def _derived(passphrase: str, *, salt: bytes, log_cost: int) -> bytes:
    """Some 200 ms of work and 64 MiB, once for each folder and process."""
    return scrypt(
        passphrase.encode(),
        salt=salt,
        n=1 << log_cost,
        r=_BLOCK,
        p=1,
        maxmem=_MOST_MEMORY + (1 << 20),
        dklen=32,
    )
