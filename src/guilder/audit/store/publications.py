"""Publications: signed statements of heads, one file each in a folder outside the database.

A file is a compact JWS (RFC 7515, ES256), named by its number, and names the digest of the one
before it. Files appear whole or not at all and are never written again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from msgspec import Struct

from guilder.audit.store.heads_keys import HeadsKeys
from guilder.platform.db import Tx
from guilder.platform.keys import ALGORITHM, SigningKey

TYPE: Final = "guilder-heads+jws"
_SUFFIX: Final = ".jws"
_PUBLIC_SUFFIX: Final = ".public.jwk"
_LOOK_EVERY_S: Final = 0.05
_registry: Final = jws.JWSRegistry(algorithms=[ALGORITHM])

_HORIZON: Final = "SELECT now() AS now, pg_current_xact_id()::text AS next"
_PASSED: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8"


class ChainHead(Struct, frozen=True, kw_only=True):
    """Where an audit chain ended. ``hash`` in hexadecimal."""

    chain: int
    sequence: int
    hash: str


class LedgerPeriod(Struct, frozen=True, kw_only=True):
    """The digest over the heads of the accounts that moved in a period; hexadecimal."""

    since: datetime | None
    until: datetime
    accounts: int
    digest: str


class Publication(Struct, frozen=True, kw_only=True):
    """What is signed. ``ledger`` is None where its recent past was not settled in time."""

    number: int
    published_at: datetime
    audit: tuple[ChainHead, ...]
    ledger: LedgerPeriod | None
    ledger_until: datetime | None
    """Up to when the ledger is covered, by this or an earlier publication."""
    previous: str
    """SHA-256 of the publication before it, in hexadecimal; of nothing for the first."""


class Forged(Exception):
    """A file is not what Guilder signed."""


class Copy(Protocol):
    """Keeps a copy of a folder of heads elsewhere."""

    async def send(self, folder: HeadsFolder) -> int:
        """Send what it does not have yet.

        Raises:
            NotCopied: it could not; the next call tries.
        """
        ...


class HeadsFolder:
    """The publications of one folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder

    def texts(self) -> Sequence[tuple[str, bytes]]:
        """Name and text of each publication, in order of their numbers."""
        return [(path.name, path.read_bytes()) for path in sorted(self.path.glob(f"*{_SUFFIX}"))]

    def last(self) -> bytes | None:
        """The text of the newest one."""
        found = sorted(self.path.glob(f"*{_SUFFIX}"))
        return found[-1].read_bytes() if found else None

    def files(self) -> Sequence[Path]:
        """Everything that was published, public keys first."""
        publications = sorted(self.path.glob(f"*{_SUFFIX}"))
        return [*sorted(self.path.glob(f"*{_PUBLIC_SUFFIX}")), *publications]

    def write(self, number: int, text: bytes) -> None:
        """Add a publication; it is on disk when this returns.

        Raises:
            FileExistsError: there is one with its number.
        """
        self._add(self.path / name_of(number), text)

    def show(self, key: SigningKey) -> None:
        """File the public half of a key, for whoever has nothing but the folder."""
        path = self.path / f"{key.kid}{_PUBLIC_SUFFIX}"
        if not path.exists():
            self._add(path, msgspec.json.format(msgspec.json.encode(key.public())))

    def _add(self, path: Path, text: bytes) -> None:
        draft = path.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        draft.unlink()
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """One publisher at a time, of all processes that have the folder."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            while not _taken(lock):  # noqa: ASYNC110 - another process has it, which tells nobody here
                await asyncio.sleep(_LOOK_EVERY_S)
            yield
        finally:
            os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def name_of(number: int) -> str:
    """The file of a publication."""
    return f"{number:010d}{_SUFFIX}"


def digest_of(text: bytes) -> str:
    """What the next publication says of one, or of ``b""`` where there is none."""
    return sha256(text).hexdigest()


def signed(publication: Publication, *, key: SigningKey) -> bytes:
    """A publication as it is filed."""
    header = {"typ": TYPE, "alg": ALGORITHM, "kid": key.kid}
    payload = msgspec.json.encode(publication)
    return jws.serialize_compact(header, payload, key.key, registry=_registry).encode("ascii")


def opened(text: bytes, *, keys: HeadsKeys) -> Publication:
    """The publication that a file states, its signature verified.

    Raises:
        Forged: it is not signed by a key of ours, or by one that had been succeeded, or is no
            publication.
        KeyUnusable: a key file is damaged, or another passphrase's.
    """
    try:
        unproven = jws.extract_compact(text)
        kid = unproven.protected.get("kid")
        key = keys.find(kid) if isinstance(kid, str) else None
        if key is None or unproven.protected.get("typ") != TYPE:
            raise Forged("it is not signed by a key of this installation")
        proven = jws.deserialize_compact(text, key.key, algorithms=[ALGORITHM], registry=_registry)
        publication = msgspec.json.decode(proven.payload, type=Publication)
    except (JoseError, ValueError, msgspec.DecodeError) as error:
        raise Forged("its signature does not match") from error
    if key.until is not None and publication.published_at.timestamp() > key.until:
        raise Forged("it is signed by a key that had been succeeded by then")
    return publication


async def horizon(tx: Tx) -> tuple[datetime, str]:
    """When this transaction began, and its number: once all before it have ended, no entry can be
    recorded for an earlier time any more.

    Whoever writes to the ledger takes locks, and so has its number, before it asks for the time.
    """
    row = await tx.fetchrow(_HORIZON)
    if row is None:
        raise LookupError("the database does not tell the time")
    return row["now"], row["next"]


async def has_passed(tx: Tx, transaction: str) -> bool:
    """Whether every transaction before this one has ended."""
    passed: bool = await tx.fetchval(_PASSED, transaction)
    return passed
