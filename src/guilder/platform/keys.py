"""Signing keys: made on first start, kept in one folder, rotated with an overlap.

A new key is published a while before it signs, so that every process and every service that
caches the key set knows it by then. A key that has been succeeded verifies until the last token it
signed has expired; after that it is neither published nor accepted. Files that cannot be read while
Guilder runs change nothing: the keys it knows go on.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from guilder.platform.key_files import (
    REREAD_EVERY_S,
    KeyFiles,
    KeyUnusable,
    KnownKeys,
    Passphrase,
)

ALGORITHM: Final = "ES256"
ACCESS_TOKEN_LIFE_S: Final = 15 * 60
JWKS_PATH: Final = "/.well-known/jwks.json"
JWKS_MAX_AGE_S: Final = 60
PUBLISHED_BEFORE_USE_S: Final = 2 * JWKS_MAX_AGE_S
UNKNOWN_KID_EVERY_S: Final = 2
_RETIRED_AFTER_S: Final = ACCESS_TOKEN_LIFE_S + REREAD_EVERY_S + 5
_CURVE: Final = "P-256"
_SUFFIX: Final = ".jwk"

UnixTime = Callable[[], float]


class VerificationKeys(Protocol):
    """Where the public keys that verify access tokens come from."""

    async def find(self, kid: str) -> ECKey | None:
        """The key named ``kid``, or None when no valid key has that name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One ES256 key pair. ``kid`` is its RFC 7638 thumbprint; times are Unix seconds."""

    kid: str
    key: ECKey
    made_at: int
    signs_from: int

    @classmethod
    def generate(cls, *, made_at: int, signs_from: int) -> SigningKey:
        """A new random key."""
        key = ECKey.generate_key(_CURVE, private=True)
        return cls(kid=key.thumbprint(), key=key, made_at=made_at, signs_from=signs_from)

    @classmethod
    def from_json(cls, text: str | bytes) -> SigningKey:
        """Read what `to_json` wrote.

        Raises:
            KeyUnusable: it is not a private P-256 key with its own thumbprint as ``kid``.
        """
        try:
            members = json.loads(text)
            key = ECKey.import_key({name: members[name] for name in ("kty", "crv", "x", "y", "d")})
            found = cls(
                kid=members["kid"],
                key=key,
                made_at=int(members["iat"]),
                signs_from=int(members["nbf"]),
            )
        except (ValueError, TypeError, KeyError, JoseError) as error:
            raise KeyUnusable("this is not a signing key of Guilder") from error
        if key.curve_name != _CURVE or found.kid != key.thumbprint():
            raise KeyUnusable("a signing key is on P-256 and named by its thumbprint")
        return found

    def to_json(self) -> str:
        """The private key as a JWK with its life (``iat``, ``nbf``)."""
        members = self.key.as_dict(private=True)
        return json.dumps(
            {**members, **self._names(), "iat": self.made_at, "nbf": self.signs_from}, indent=2
        )

    def public(self) -> dict[str, Any]:
        """The public half as a member of a JWK set."""
        return {**self.key.as_dict(private=False), **self._names()}

    def _names(self) -> dict[str, str]:
        return {"kid": self.kid, "use": "sig", "alg": ALGORITHM}


class KeyRing:
    """Several keys and the rule of who signs and who verifies at a moment. Immutable."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = tuple(sorted(keys, key=lambda key: (key.signs_from, key.kid)))
        self._by_kid = {key.kid: index for index, key in enumerate(self._keys)}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def signer(self, now: float) -> SigningKey:
        """The newest key whose time to sign has come.

        Raises:
            KeyUnusable: there is no key at all.
        """
        if not self._keys:
            raise KeyUnusable("there is no signing key")
        ready = [key for key in self._keys if key.signs_from <= now]
        return ready[-1] if ready else self._keys[0]

    def newest_made_at(self) -> int:
        """When the newest key was made.

        Raises:
            KeyUnusable: there is no key at all.
        """
        if not self._keys:
            raise KeyUnusable("there is no signing key")
        return self._keys[-1].made_at

    def valid(self, now: float) -> tuple[SigningKey, ...]:
        """Every key that verifies at ``now``, those that do not sign yet included."""
        return tuple(key for index, key in enumerate(self._keys) if self._retires_at(index) > now)

    def find(self, kid: str, now: float) -> SigningKey | None:
        """The key named ``kid`` if it verifies at ``now``."""
        index = self._by_kid.get(kid)
        if index is None or self._retires_at(index) <= now:
            return None
        return self._keys[index]

    def has(self, kid: str) -> bool:
        """Whether there is a key named ``kid``, good or retired."""
        return kid in self._by_kid

    def retired(self, now: float) -> tuple[SigningKey, ...]:
        """The keys that nothing needs any more."""
        return tuple(key for key in self._keys if self.find(key.kid, now) is None)

    def _retires_at(self, index: int) -> float:
        if index + 1 == len(self._keys):
            return float("inf")
        return self._keys[index + 1].signs_from + _RETIRED_AFTER_S


class KeyFolder:
    """The keys of one data folder, shared by every process that has it.

    Making one is serialised by a file lock. ``passphrase`` encrypts what is written.
    """

    def __init__(
        self, folder: Path, *, passphrase: Passphrase | None = None, now: UnixTime = time.time
    ) -> None:
        self._files = KeyFiles(folder, passphrase=passphrase)
        self._now = now
        self._known = KnownKeys(self._read, at_first=KeyRing(()), now=now)
        self._reading = asyncio.Lock()

    @property
    def folder(self) -> Path:
        """Where the key files are."""
        return self._files.folder

    def ensure(self) -> None:
        """Read the keys, and make the first one when there is none. Safe in several processes.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self._known.read()
        if self._ring:
            return
        with self._files.locked():
            self._known.read()
            if not self._ring:
                self._add(overlap_s=0)

    async def learn(self) -> None:
        """Read the keys that there are, and make none: for a process that starts.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self._known.read()

    def rotate(self, *, overlap_s: int = PUBLISHED_BEFORE_USE_S) -> SigningKey:
        """Add a key that signs once everyone has had time to learn it; delete retired ones.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self.ensure()
        with self._files.locked():
            self._known.read()
            return self._succeed(overlap_s)

    def rotate_when_due(self, *, after_s: float) -> SigningKey | None:
        """`rotate` when the newest key was made ``after_s`` ago; None when it is younger.

        However many processes ask at once, one of them adds one key; the others do not wait.

        Raises:
            KeyUnusable: a key file is damaged, or another passphrase's.
        """
        self.ensure()
        with self._files.locked_if_free() as is_ours:
            if not is_ours:
                return None
            self._known.read()
            if self._ring.newest_made_at() + after_s > self._now():
                return None
            return self._succeed(PUBLISHED_BEFORE_USE_S)

    async def signing_key(self) -> SigningKey:
        """The key that signs now."""
        await self._refresh(REREAD_EVERY_S)
        return self._ring.signer(self._now())

    async def public_keys(self) -> list[dict[str, Any]]:
        """The JWK set's members: every key that verifies now."""
        await self._refresh(REREAD_EVERY_S)
        return [key.public() for key in self._ring.valid(self._now())]

    async def find(self, kid: str) -> ECKey | None:
        """The key named ``kid``; the folder is read again (not too often) for an unknown one."""
        await self._refresh(REREAD_EVERY_S)
        found = self._ring.find(kid, self._now())
        if found is None:
            await self._refresh(UNKNOWN_KID_EVERY_S)
            found = self._ring.find(kid, self._now())
        return None if found is None else found.key

    @property
    def is_known(self) -> bool:
        """Whether this process knows every key that the folder has, as far as it has looked."""
        return self._known.is_readable or all(
            self._ring.has(path.stem) for path in self._files.ending(_SUFFIX)
        )

    @property
    def _ring(self) -> KeyRing:
        return self._known.keys

    async def _refresh(self, older_than_s: float) -> None:
        if self._known.age_s < older_than_s:
            return
        async with self._reading:
            if self._known.age_s >= older_than_s:
                await asyncio.to_thread(self._known.read_if_possible)

    def _read(self) -> KeyRing:
        return KeyRing(signing_key(*found) for found in self._files.read_all(_SUFFIX).items())

    def _succeed(self, overlap_s: int) -> SigningKey:
        added = self._add(overlap_s=overlap_s)
        for key in self._ring.retired(self._now()):
            self._files.delete(self.folder / f"{key.kid}{_SUFFIX}")
        self._known.read()
        return added

    def _add(self, *, overlap_s: int) -> SigningKey:
        now = int(self._now())
        added = SigningKey.generate(made_at=now, signs_from=now + overlap_s)
        self._files.write(f"{added.kid}{_SUFFIX}", added.to_json().encode())
        self._known.read()
        return added


def signing_key(path: Path, text: bytes) -> SigningKey:
    """The key that a file holds.

    Raises:
        KeyUnusable: it is none.
    """
    try:
        return SigningKey.from_json(text)
    except KeyUnusable as error:
        raise KeyUnusable(f"{path}: {error}") from error
