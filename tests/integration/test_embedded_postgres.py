"""The embedded PostgreSQL through crashes, second starts and awkward folders."""

from __future__ import annotations

import multiprocessing
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from guilder.platform.db import Database
from guilder.platform.db_durability import check_durability
from guilder.platform.postgres.account import Account, account_for
from guilder.platform.postgres.binaries import bundled_programs
from guilder.platform.postgres.errors import DataFolderInUse, PostgresUnavailable
from guilder.platform.postgres.postmaster import postmaster_of, processes_on, wait_for_end
from guilder.platform.postgres.server import EmbeddedPostgres, is_running

NOBODY = 65534


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "data", report=print)
    made.start()
    yield made
    made.stop()


def cluster_of(data_dir: Path) -> Path:
    return data_dir / "postgres-18" / "data"


async def run(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.url(database="postgres"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_it_keeps_what_it_acknowledges(server: EmbeddedPostgres):
    database = await Database.connect(server.url(database="postgres"))

    await check_durability(database)

    assert await database.fetchval("SHOW data_checksums") == "on"
    assert await database.fetchval("SHOW listen_addresses") == ""
    await database.close()


async def test_a_wrong_password_opens_nothing(server: EmbeddedPostgres):
    password = server.passwords()["postgres"]
    url = server.url(database="postgres").replace(password, "guess")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(url)


def test_only_its_owner_may_look_inside(server: EmbeddedPostgres, tmp_path: Path):
    root = tmp_path / "data" / "postgres-18"

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (root, root / "run")}

    assert modes == {root: 0o700, root / "run": 0o700}
    assert stat.S_IMODE((root / "passwords.json").stat().st_mode) == 0o600


def test_a_stop_leaves_no_process_and_a_free_folder(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    server.stop()

    assert processes_on(cluster_of(tmp_path)) == frozenset()
    assert not is_running(tmp_path)
    server.start()
    server.stop()


async def test_it_recovers_after_its_process_was_killed(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    await run(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(timeout_s=60)
    server.let_go()

    server.start()

    assert await run(server, "SELECT answer FROM kept") == 42
    server.stop()


async def test_a_server_that_outlived_its_parent_is_adopted(tmp_path: Path):
    parent = multiprocessing.get_context("fork").Process(target=start_and_die, args=(tmp_path,))
    parent.start()
    parent.join()
    running = postmaster_of(cluster_of(tmp_path))
    assert parent.exitcode == -signal.SIGKILL
    assert running is not None

    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()

    assert server.pid == running.pid
    assert await run(server, "SELECT 1") == 1
    server.stop()
    assert processes_on(cluster_of(tmp_path)) == frozenset()


def start_and_die(data_dir: Path) -> None:
    EmbeddedPostgres(data_dir, report=print).start()
    os.kill(os.getpid(), signal.SIGKILL)


async def test_children_of_a_killed_server_do_not_keep_it_from_starting(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    children = processes_on(cluster_of(tmp_path)) - {server.pid}
    for child in children:
        os.kill(child, signal.SIGSTOP)
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(timeout_s=60)
    server.let_go()

    server.start()

    assert await run(server, "SELECT 1") == 1
    assert not children & processes_on(cluster_of(tmp_path))
    server.stop()


async def test_a_stale_pid_file_whose_number_belongs_to_another_process_is_ignored(
    tmp_path: Path,
):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    pid_file = cluster_of(tmp_path) / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    (tmp_path / "postgres-18" / "run" / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")

    server.start()

    assert await run(server, "SELECT 1") == 1
    server.stop()


def test_a_second_start_on_the_same_folder_is_refused(server: EmbeddedPostgres, tmp_path: Path):
    second = EmbeddedPostgres(tmp_path / "data", report=print)

    with pytest.raises(DataFolderInUse, match=f"process {os.getpid()}"):
        second.start()
    assert is_running(tmp_path / "data")


def test_an_interrupted_creation_starts_over(tmp_path: Path):
    unfinished = tmp_path / "postgres-18" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(tmp_path, report=print)

    server.start()

    assert not unfinished.exists()
    server.stop()


async def test_a_long_path_gets_a_short_private_socket_folder_elsewhere(tmp_path: Path):
    deep = tmp_path / ("long-" * 20)
    server = EmbeddedPostgres(deep, report=print)

    server.start()

    assert await run(server, "SELECT 1") == 1
    server.stop()


def test_a_socket_folder_elsewhere_is_used_again_and_goes_with_the_server(tmp_path: Path):
    deep = tmp_path / ("long-" * 20)
    server = EmbeddedPostgres(deep, report=print)
    server.start()
    note = deep / "postgres-18" / "socket-folder"
    sockets = Path(note.read_text())
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait(timeout_s=60)
    server.let_go()

    server.start()

    assert Path(note.read_text()) == sockets
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    server.stop()
    assert not sockets.exists()


def test_data_of_another_major_version_is_not_left_behind_silently(tmp_path: Path):
    (tmp_path / "postgres-17" / "data").mkdir(parents=True)
    (tmp_path / "postgres-17" / "data" / "PG_VERSION").write_text("17\n")

    with pytest.raises(PostgresUnavailable, match="postgres-17"):
        EmbeddedPostgres(tmp_path, report=print).start()


def test_a_server_that_cannot_start_says_why(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    server.stop()
    (cluster_of(tmp_path) / "local.conf").write_text("shared_buffers = 'plenty'\n")

    with pytest.raises(PostgresUnavailable, match=r"shared_buffers|configuration file"):
        server.start()


def test_its_end_is_noticed(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path, report=print)
    server.start()
    assert not server.wait(timeout_s=0)

    os.kill(server.pid, signal.SIGKILL)

    assert server.wait(timeout_s=60)
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_without_namespaces_runs_it_as_nobody():
    open_way = Path("/tmp") / f"guilder-test-{os.getpid()}"  # others must be able to pass
    open_way.mkdir(mode=0o711)
    account = Account(
        prefix=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        uid=NOBODY,
        gid=NOBODY,
    )
    server = EmbeddedPostgres(open_way / "data", report=print, account=account)
    try:
        server.start()
        assert Path(f"/proc/{server.pid}").stat().st_uid == NOBODY
        assert account_for(cluster_of(open_way / "data")).uid == NOBODY
        server.stop()
    finally:
        shutil.rmtree(open_way)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_runs_it_as_themselves():
    home = Path("/tmp") / f"guilder-user-{os.getpid()}"  # others must be able to pass
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    program = (
        "import os, sys; from pathlib import Path;"
        "from guilder.platform.postgres.server import EmbeddedPostgres;"
        f"s = EmbeddedPostgres(Path({str(home / 'data')!r}), report=print);"
        "s.start(); print('uid', Path(f'/proc/{s.pid}').stat().st_uid); s.stop()"
    )
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    try:
        ended = subprocess.run(
            [*prefix, sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        if "Permission denied" in ended.stderr:
            pytest.skip("this Python cannot be run by another user")
        assert ended.stdout.splitlines()[-1] == f"uid {NOBODY}", ended.stderr
    finally:
        shutil.rmtree(home)


def test_no_user_is_added(server: EmbeddedPostgres):
    names = {entry.pw_name for entry in pwd.getpwall()}

    assert not names & {"pgserver", "guilder"}
    assert bundled_programs().is_dir()
    assert not wait_for_end(server.pid, timeout_s=0)
