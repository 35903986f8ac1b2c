"""Starts, adopts, watches and stops one embedded PostgreSQL.

A server that outlived a killed Guilder is adopted; one that was killed itself is started again and
given all the time its recovery needs. It runs in a session of its own, so a Ctrl-C in the terminal
reaches Guilder alone, which then stops it in order.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, TextIO
from urllib.parse import quote

from guilder.platform.postgres import folder as folders
from guilder.platform.postgres.account import Account, account_for
from guilder.platform.postgres.binaries import bundled_programs
from guilder.platform.postgres.errors import PostgresUnavailable
from guilder.platform.postgres.folder import PORT, SUPERUSER, Folder
from guilder.platform.postgres.postmaster import (
    READY,
    STOPPING,
    Postmaster,
    forget_dead_server,
    postmaster_of,
    wait_for_end,
)
from guilder.platform.postgres.tuning import available_memory_bytes, server_settings

Report = Callable[[str], None]
"""Told, in a line for people, what is being waited for."""

_POLL_S: Final = 0.01
_SILENCE_S: Final = 3.0
_LONGEST_STOP_S: Final = 60.0
_LARGEST_LOG_BYTES: Final = 10 * 1024 * 1024
_OWN_CONFIGURATION: Final = """
# Guilder writes guilder.conf at each start; put settings of your own into local.conf.
include 'guilder.conf'
include 'local.conf'
"""


class EmbeddedPostgres:
    """One PostgreSQL server under ``data_dir``, from its first start to its last stop.

    Its methods block; they are called before an event loop runs, or from a thread. A server that is
    adopted keeps the ``max_connections`` of its start.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        report: Report,
        max_connections: int = 100,
        programs: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._report = report
        self._max_connections = max_connections
        self._programs = programs
        self._account = account
        self._held: TextIO | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._sockets: Path | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._pid is None:
            raise PostgresUnavailable("the embedded PostgreSQL is not running")
        return self._pid

    def start(self) -> None:
        """Return once the server accepts connections, however long its recovery takes.

        Raises:
            DataFolderInUse: another Guilder runs on this data folder.
            PostgresUnavailable: it cannot run here; the message says why.
        """
        folder = folders.folder_in(self._data_dir)
        self._held = self._held or folders.hold(folder)
        try:
            self._start(folder)
        except BaseException:
            self.stop()
            raise

    def _start(self, folder: Folder) -> None:
        running = postmaster_of(folder.cluster)
        if running is not None and running.status == STOPPING:
            wait_for_end(running.pid, timeout_s=_LONGEST_STOP_S)
            running = postmaster_of(folder.cluster)
        if running is None:
            self._launch(folder)
        else:
            self._pid, self._child = running.pid, None
            self._sockets = folders.recorded_socket_folder(folder)
        self._wait_until_ready(folder)

    def _launch(self, folder: Folder) -> None:
        programs = self._programs or bundled_programs()
        account = self._account or account_for(
            folder.cluster if folder.cluster.exists() else folder.root
        )
        _open_the_way(self._data_dir, folder, account=account)
        if not folder.cluster.exists():
            self._report("Creating the database")
            _create_cluster(folder, programs=programs, account=account)
        self._sockets = folders.socket_folder(folder, account=account)
        forget_dead_server(folder.cluster, sockets=self._sockets)
        _configure(
            folder,
            sockets=self._sockets,
            account=account,
            max_connections=self._max_connections,
        )
        _turn_log(folder.log)
        with folder.log.open("ab") as log:
            self._child = subprocess.Popen(
                [*account.prefix, str(programs / "postgres"), "-D", str(folder.cluster)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
            )
        self._pid = self._child.pid

    def _wait_until_ready(self, folder: Folder) -> None:
        told_at = monotonic()
        while (status := self._status(folder)) != READY:
            if monotonic() - told_at > _SILENCE_S:
                told_at = monotonic()
                self._report(f"Waiting for PostgreSQL ({status}): {_last_line(folder.log)}")

    def _status(self, folder: Folder) -> str:
        """What the server says of itself, after a short wait in which its end is noticed."""
        if self.wait(timeout_s=_POLL_S):
            raise PostgresUnavailable(
                f"PostgreSQL did not start: {_last_line(folder.log)} (see {folder.log})"
            )
        found: Postmaster | None = postmaster_of(folder.cluster)
        return found.status if found is not None and found.pid == self._pid else "starting"

    def wait(self, *, timeout_s: float | None) -> bool:
        """Whether the server has ended, after waiting at most ``timeout_s`` for that."""
        if self._child is None:
            return wait_for_end(self.pid, timeout_s=timeout_s)
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Stop the server in order: sessions end, everything is written, the folder is free."""
        if self._pid is not None and not self.wait(timeout_s=0):
            # after a while, without the last checkpoint: the next start replays the log instead
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.kill(self._pid, number)
                if self.wait(timeout_s=_LONGEST_STOP_S):
                    break
        if self._held is not None:
            folders.remove_socket_folder_elsewhere(folders.folder_in(self._data_dir))
        self.let_go()

    def let_go(self) -> None:
        """Free the data folder and leave the server, if one runs, to whoever adopts it next."""
        self._pid, self._child, self._sockets = None, None, None
        if self._held is not None:
            self._held.close()
            self._held = None

    def url(self, role: str = SUPERUSER, *, database: str) -> str:
        """The address of ``database`` with the password of ``role`` in it: a secret."""
        folder = folders.folder_in(self._data_dir)
        sockets = self._sockets or folders.recorded_socket_folder(folder)
        password = self.passwords()[role]
        where = quote(str(sockets), safe="")
        return f"postgresql://{role}:{password}@/{database}?host={where}&port={PORT}"

    def passwords(self) -> Mapping[str, str]:
        """The password of each role that can log in: secrets."""
        return folders.folder_in(self._data_dir).passwords()


def is_running(data_dir: Path) -> bool:
    """Whether a server under ``data_dir`` accepts connections, whoever started it."""
    found = postmaster_of(folders.folder_in(data_dir).cluster)
    return found is not None and found.status == READY


def _open_the_way(data_dir: Path, folder: Folder, *, account: Account) -> None:
    """Let an account other than ours pass through our folders, and refuse where it cannot."""
    if account.uid == os.geteuid():
        return
    for ours in (data_dir, folder.root):
        ours.chmod(ours.stat().st_mode | 0o011)
    account.give(folder.root)
    way = subprocess.run([*account.prefix, "test", "-x", str(folder.root)], check=False)
    if way.returncode != 0:
        raise PostgresUnavailable(
            f"PostgreSQL does not run as root, and its user cannot enter {folder.root}; "
            "set GUILDER_DATA_DIR to a folder outside of private folders"
        )


def _create_cluster(folder: Folder, *, programs: Path, account: Account) -> None:
    shutil.rmtree(folder.unfinished, ignore_errors=True)
    folder.unfinished.mkdir(mode=0o700)
    password = folder.root / "superuser-password"
    folders.write_private(password, folder.passwords()[SUPERUSER])
    for ours in (folder.unfinished, password):
        account.give(ours)
    try:
        _initdb(folder.unfinished, programs=programs, account=account, password=password)
    finally:
        password.unlink()
    with (folder.unfinished / "postgresql.conf").open("a") as configuration:
        configuration.write(_OWN_CONFIGURATION)
    local = folder.unfinished / "local.conf"
    folders.write_private(local, "# Settings written here win over Guilder's.\n")
    account.give(local)
    folder.unfinished.rename(folder.cluster)


def _initdb(cluster: Path, *, programs: Path, account: Account, password: Path) -> None:
    made = subprocess.run(
        [
            *account.prefix,
            str(programs / "initdb"),
            f"--pgdata={cluster}",
            f"--username={SUPERUSER}",
            f"--pwfile={password}",
            "--auth-local=scram-sha-256",
            "--auth-host=reject",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale-provider=builtin",
            "--locale=C.UTF-8",
            "--no-instructions",
        ],
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        reason = made.stderr.strip().splitlines() or ["no reason given"]
        raise PostgresUnavailable(f"PostgreSQL's initdb failed: {reason[0]}")


def _configure(folder: Folder, *, sockets: Path, account: Account, max_connections: int) -> None:
    settings: Mapping[str, str] = {
        **server_settings(available_memory_bytes(), max_connections=max_connections),
        "port": str(PORT),
        "unix_socket_directories": "'" + str(sockets).replace("'", "''") + "'",
    }
    file = folder.cluster / "guilder.conf"
    folders.write_private(file, "".join(f"{k} = {v}\n" for k, v in settings.items()))
    account.give(file)


def _environment() -> dict[str, str]:
    """Little: none of Guilder's settings, which hold secrets, and no locale of the terminal's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _turn_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LARGEST_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    log.touch(mode=0o600)


def _last_line(log: Path) -> str:
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return "its log is empty"
