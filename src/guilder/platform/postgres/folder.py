"""The data folder of one embedded PostgreSQL: where things are, who may read them, its lock.

Layout under ``<data dir>/postgres-18``: ``data`` (PostgreSQL's own), ``run`` (its socket),
``passwords.json`` (mode 0600), ``server.log``, ``lock``.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from guilder.platform.postgres.account import Account
from guilder.platform.postgres.binaries import MAJOR
from guilder.platform.postgres.errors import DataFolderInUse, PostgresUnavailable

SUPERUSER: Final = "postgres"
LOGIN_ROLES: Final = (SUPERUSER, "guilder_migrator", "guilder_app", "guilder_auditor")
PORT: Final = 5432
"""Part of the socket's name only: the server listens on no network address."""
LONGEST_SOCKET_FOLDER: Final = 85
"""Bytes. The kernel allows 107 for the socket's whole path, ``.s.PGSQL.5432.lock`` included."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths of one data folder. Making one touches nothing."""

    root: Path

    @property
    def cluster(self) -> Path:
        return self.root / "data"

    @property
    def unfinished(self) -> Path:
        """Where initdb works; renamed to `cluster` once it is whole."""
        return self.root / "data.unfinished"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def passwords_file(self) -> Path:
        return self.root / "passwords.json"

    @property
    def socket_note(self) -> Path:
        """Holds the path of a socket folder that lies elsewhere."""
        return self.root / "socket-folder"

    def passwords(self) -> Mapping[str, str]:
        """The password of each role that can log in, made on first use."""
        if not self.passwords_file.exists():
            made = {role: secrets.token_urlsafe(32) for role in LOGIN_ROLES}
            write_private(self.passwords_file, json.dumps(made, indent=2))
        found: dict[str, str] = json.loads(self.passwords_file.read_text())
        return found


def folder_in(data_dir: Path) -> Folder:
    """The folder of this major version under ``data_dir``, made when missing, closed to others.

    Raises:
        PostgresUnavailable: it cannot be made, or holds only another major version's data.
    """
    folder = Folder(data_dir.absolute() / f"postgres-{MAJOR}")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = sorted(
            path.name
            for path in data_dir.glob("postgres-*")
            if path != folder.root and (path / "data" / "PG_VERSION").exists()
        )
        if others and not folder.cluster.exists():
            raise PostgresUnavailable(
                f"{data_dir} holds data of {', '.join(others)} and this Guilder runs "
                f"PostgreSQL {MAJOR}: dump it with the earlier Guilder and restore it here"
            )
        folder.root.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise PostgresUnavailable(
            f"cannot use the data folder {data_dir}: {error.strerror}"
        ) from error
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace ``path`` by a file with mode 0600 that holds ``text``: all of it, or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def hold(folder: Folder) -> TextIO:
    """Claim ``folder`` for this process, until the returned file is closed or the process ends.

    Raises:
        DataFolderInUse: another process holds it.
    """
    file = (folder.root / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise DataFolderInUse(
            f"Guilder already runs on {folder.root.parent} (process {holder}); "
            "stop it, or set GUILDER_DATA_DIR to another folder"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def socket_folder(folder: Folder, *, account: Account) -> Path:
    """Where the server's socket lies: in the data folder, or in a short private folder elsewhere.

    A socket's path has a limit of about a hundred bytes, which a data folder may exceed. The
    folder elsewhere is recorded in the data folder, and made anew when it is gone.
    """
    inside = folder.root / "run"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
        inside.mkdir(mode=0o700, exist_ok=True)
        account.give(inside)
        return inside
    recorded = recorded_socket_folder(folder)
    if recorded != inside and _is_private(recorded, owner=account.uid):
        return recorded
    made = Path(tempfile.mkdtemp(prefix="guilder-", dir=_short_parent()))
    account.give(made)
    write_private(folder.socket_note, str(made))
    return made


def recorded_socket_folder(folder: Folder) -> Path:
    """Where the socket of a running server lies, by what its start wrote down."""
    try:
        return Path(folder.socket_note.read_text())
    except FileNotFoundError:
        return folder.root / "run"


def remove_socket_folder_elsewhere(folder: Folder) -> None:
    """Leave nothing outside the data folder once the server has stopped."""
    if folder.socket_note.exists():
        shutil.rmtree(recorded_socket_folder(folder), ignore_errors=True)
        folder.socket_note.unlink()


def _short_parent() -> str | None:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = runtime and _is_private(Path(runtime), owner=os.geteuid())
    return runtime if usable and len(os.fsencode(runtime)) < LONGEST_SOCKET_FOLDER - 20 else None


def _is_private(path: Path, *, owner: int) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == owner and not status.st_mode & 0o077
