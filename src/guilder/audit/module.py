"""Wires audit: the only file that sees every layer of the context."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from guilder.audit.api import LedgerHeads
from guilder.audit.consumers import subscriptions
from guilder.audit.http import routes
from guilder.audit.jobs import DenialCounts, erase_listed, publish_heads
from guilder.audit.service.erase_person import ErasePerson
from guilder.audit.service.keep_records import KeepRecords
from guilder.audit.service.publish_heads import PublishHeads
from guilder.audit.service.read_records import ReadRecords
from guilder.audit.service.record_denials import DenialRecorder
from guilder.audit.service.rotate_keys import RotateKeys
from guilder.audit.service.vault import Vault
from guilder.audit.store.checks import CHECKS
from guilder.audit.store.checks.heads import HeadsChecks
from guilder.audit.store.heads_keys import HeadsKeys
from guilder.audit.store.publications import Copy, HeadsFolder
from guilder.platform.db import Database
from guilder.platform.envelopes import OuterKeys
from guilder.platform.erasures import ErasureList
from guilder.platform.key_files import Passphrase
from guilder.platform.module import Module
from guilder.platform.startup import CannotStart

PUBLISH_EVERY_S: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where audit keeps what the database must not: ``keys``, and published ``heads``."""

    keys: Path
    heads: Path
    copy_url: str | None = None
    """Where a copy of ``heads`` is kept, as ``s3://bucket/prefix``."""
    passphrase: Passphrase | None = None
    """What encrypts the files of ``keys``."""

    def vault(self) -> Vault:
        """The keys of persons, wrapped by this folder's."""
        return Vault(OuterKeys(self.keys / "audit", passphrase=self.passphrase))

    def signing(self) -> HeadsKeys:
        """The key that signs heads: its own, which signs nothing else."""
        return HeadsKeys(self.keys / "heads", passphrase=self.passphrase)


def build(
    *,
    db: Database,
    ledger: LedgerHeads,
    folders: Folders,
    registry: CollectorRegistry,
    publish_every_s: float = PUBLISH_EVERY_S,
) -> Module:
    """The wired context."""
    vault = folders.vault()
    checked = HeadsChecks(HeadsFolder(folders.heads), keys=folders.signing(), ledger=ledger)
    return Module(
        name="audit",
        service_names=("audit",),
        routes=routes(ReadRecords(db, vault=vault)),
        subscriptions=subscriptions(KeepRecords(vault), build_erasing(db=db, folders=folders)),
        jobs=(
            publish_heads(
                build_publishing(db=db, ledger=ledger, folders=folders),
                every_s=publish_every_s,
                registry=registry,
            ),
            erase_listed(build_erasing(db=db, folders=folders)),
        ),
        on_start=(vault.ensure,),
        checks=(*CHECKS, *checked.checks()),
    )


def build_denials(
    *, db: Database, folders: Folders, registry: CollectorRegistry, per_second: int
) -> DenialRecorder:
    """What keeps denied requests, for whoever answers them; it runs while its ``running`` does."""
    return DenialRecorder(
        db, vault=folders.vault(), counts=DenialCounts(registry), per_second=per_second
    )


def build_publishing(*, db: Database, ledger: LedgerHeads, folders: Folders) -> PublishHeads:
    """Publishes heads, for the worker and the command line."""
    return PublishHeads(
        db,
        folder=HeadsFolder(folders.heads),
        keys=folders.signing(),
        ledger=ledger,
        copy=None if folders.copy_url is None else _copy(folders.copy_url),
    )


def build_rotation(*, db: Database, folders: Folders) -> RotateKeys:
    """Changes audit's keys, for the command line."""
    return RotateKeys(
        db,
        folder=HeadsFolder(folders.heads),
        keys=folders.signing(),
        vault=folders.vault(),
    )


def _copy(url: str) -> Copy:
    try:
        # an extra: whoever keeps no copy in a bucket need not have it
        copies = import_module("guilder.audit.store.copies")
    except ModuleNotFoundError as missing:
        raise CannotStart(
            "GUILDER_AUDIT_HEADS_S3 needs the extra s3: pip install 'guilder[s3]'"
        ) from missing
    copy: Copy = copies.BucketCopy(url)
    return copy


def build_erasing(*, db: Database, folders: Folders) -> ErasePerson:
    """Erases persons, for the worker and the command line."""
    return ErasePerson(db, listed=ErasureList(folders.heads), vault=folders.vault())
