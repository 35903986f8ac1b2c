"""The command ``guilder`` as people and machines use it: starts, stops, crashes, wrong settings."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from guilder import __version__
from guilder.platform.postgres.postmaster import postmaster_of, processes_on, wait_for_end
from tests.support.guilder import (
    PATIENCE_S,
    Running,
    children,
    environment,
    guilder,
    readiness,
)
from tests.support.waiting import until


def cluster_of(data_dir: Path) -> Path:
    return data_dir / "postgres-18" / "data"


def kill_all(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        wait_for_end(pid, timeout_s=PATIENCE_S)


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """A test that failed half-way leaves no database running."""
    yield
    if cluster_of(tmp_path).exists():
        kill_all(processes_on(cluster_of(tmp_path)))


def test_a_start_becomes_ready_and_ctrl_c_leaves_nothing_running(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        answer = readiness(up.address())

        assert answer.status_code == 200
        assert up.interrupt() == 0
        assert processes_on(cluster_of(tmp_path)) == frozenset()
        assert "Traceback" not in "\n".join(up.said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_other_signals_stop_it_cleanly_too(tmp_path: Path, number: signal.Signals):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        up.address()

        up.process.send_signal(number)

        assert up.end() == 0
        assert processes_on(cluster_of(tmp_path)) == frozenset()


def test_ctrl_c_before_it_is_ready_leaves_nothing_running_either(tmp_path: Path):
    env = environment(tmp_path, FAILPOINTS="migrate.before_commit=sleep:60000")
    with Running("up", env=env, folder=tmp_path) as up:
        up.wait_for("failpoint migrate.before_commit: sleep")

        assert up.interrupt() == 130
        assert processes_on(cluster_of(tmp_path)) == frozenset()
        assert "Traceback" not in "\n".join(up.said)


def test_a_start_after_kill_9_adopts_the_database(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as first:
        first.address()
        first.kill()
        left = postmaster_of(cluster_of(tmp_path))
        assert left is not None

        with Running("up", env=environment(tmp_path), folder=tmp_path) as second:
            assert readiness(second.address()).status_code == 200
            adopted = postmaster_of(cluster_of(tmp_path))
            assert adopted is not None
            assert adopted.pid == left.pid
            assert second.interrupt() == 0

    assert processes_on(cluster_of(tmp_path)) == frozenset()


def test_a_start_after_kill_9_of_everything_recovers(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as first:
        first.address()
        killed = processes_on(cluster_of(tmp_path))
        first.kill_everything()
    kill_all(killed)

    with Running("up", env=environment(tmp_path), folder=tmp_path) as second:
        assert readiness(second.address()).status_code == 200
        assert second.interrupt() == 0


def test_a_killed_database_is_started_again_while_it_serves(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        address = up.address()
        server = postmaster_of(cluster_of(tmp_path))
        assert server is not None

        os.kill(server.pid, signal.SIGKILL)
        up.wait_for("database.started_again")

        assert readiness(address).status_code == 200
        assert up.interrupt() == 0


def test_a_second_start_on_the_same_data_is_refused(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        up.address()

        second = guilder("up", env=environment(tmp_path), folder=tmp_path)

        assert second.returncode == 1
        assert second.stderr.startswith("guilder: Guilder already runs on")
        assert second.stderr.count("\n") == 1
        up.interrupt()


def test_a_taken_port_is_told_before_anything_is_started(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ended = guilder("up", env=environment(tmp_path / "data", PORT=port), folder=tmp_path)

    assert ended.returncode == 1
    assert ended.stderr == (
        f"guilder: port {port} on 127.0.0.1 is in use; stop what uses it, or set GUILDER_PORT\n"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("crashed", ["http-1", "http-2", "background"])
def test_a_crashed_worker_comes_back_while_the_others_serve(tmp_path: Path, crashed: str):
    with Running("up", env=environment(tmp_path, WORKERS="2"), folder=tmp_path) as up:
        address = up.address()

        os.kill(workers_of(up, tmp_path)[crashed], signal.SIGKILL)
        up.wait_for(f"worker.ended.*{crashed}")
        up.wait_for(f"worker.started_again.*{crashed}")

        answers = {readiness(address).status_code for _ in range(10)}
        assert answers == {200}
        assert up.interrupt() == 0
        assert processes_on(cluster_of(tmp_path)) == frozenset()


def workers_of(up: Running, data_dir: Path) -> dict[str, int]:
    """The processes that do the work, by name, in the order in which they are started."""
    servers = processes_on(cluster_of(data_dir))
    pids = sorted(pid for pid in children(up.process.pid) if pid not in servers)
    names = [f"http-{number}" for number in range(1, len(pids))]
    return dict(zip([*names, "background"], pids, strict=True))


def test_background_work_gives_way_to_requests(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        up.address()

        niceness = {
            name: os.getpriority(os.PRIO_PROCESS, pid)
            for name, pid in workers_of(up, tmp_path).items()
        }

        assert list(niceness) == ["http-1", "background"]
        assert niceness["background"] > niceness["http-1"]
        assert up.interrupt() == 0


def test_requests_are_answered_while_background_work_stands_still(tmp_path: Path):
    with Running("up", env=environment(tmp_path), folder=tmp_path) as up:
        address = up.address()
        stopped = workers_of(up, tmp_path)["background"]

        os.kill(stopped, signal.SIGSTOP)
        try:
            assert readiness(address).status_code == 200
        finally:
            os.kill(stopped, signal.SIGCONT)

        assert up.interrupt() == 0


def test_any_process_tells_the_metrics_of_all(tmp_path: Path):
    env = environment(tmp_path, WORKERS="2", METRICS_TOKEN="seen-by-prometheus")
    with Running("up", env=env, folder=tmp_path) as up:
        address = up.address()
        headers = {"Authorization": "Bearer seen-by-prometheus"}

        async def is_whole() -> bool:
            told = httpx2.get(
                f"{address}/metrics", headers=headers, trust_env=False, timeout=60
            ).text
            found = re.findall(r'process_start_time_seconds{worker="([^"]+)"}', told)
            return sorted(found) == ["background", "http-1", "http-2"]

        asyncio.run(until(is_whole, "every process tells its metrics"))
        assert up.interrupt() == 0


def test_workers_end_with_a_killed_parent_and_leave_the_port(tmp_path: Path):
    with Running("up", env=environment(tmp_path, WORKERS="2"), folder=tmp_path) as first:
        address = first.address()
        workers = workers_of(first, tmp_path).values()
        assert len(workers) == 3
        first.kill()
        assert all(wait_for_end(pid, timeout_s=PATIENCE_S) for pid in workers)

        port = address.rsplit(":", 1)[1]
        again = environment(tmp_path, WORKERS="2", PORT=port)
        with Running("up", env=again, folder=tmp_path) as second:
            assert readiness(second.address()).status_code == 200
            assert second.interrupt() == 0


def test_serve_and_work_join_a_running_database(tmp_path: Path):
    env = environment(tmp_path)
    with (
        Running("up", env=env, folder=tmp_path) as up,
    ):
        up.address()
        with (
            Running("serve", env=env, folder=tmp_path) as serve,
            Running("serve", "identity", env=env, folder=tmp_path) as alone,
            Running("work", env=env, folder=tmp_path) as work,
        ):
            answers = [
                readiness(process.wait_for(r"on (http://[\w.:]+)")[1]).status_code
                for process in (serve, alone)
            ]
            work.wait_for("Working")

            assert answers == [200, 200]
            # whoever is behind a gateway has to be told which one, or takes all customers for one
            warned = ["GUILDER_TRUSTED_PROXIES" in "".join(p.said) for p in (serve, alone)]
            assert warned == [False, True]
            assert [p.interrupt() for p in (serve, alone, work)] == [0, 0, 0]
        assert up.interrupt() == 0


def test_serve_answers_in_as_many_processes_as_asked_for(tmp_path: Path):
    env = environment(tmp_path)
    with Running("up", env=env, folder=tmp_path) as up:
        up.address()
        several = env | {"GUILDER_WORKERS": "2"}
        with Running("serve", env=several, folder=tmp_path) as serve:
            address = serve.wait_for(r"on (http://[\w.:]+)")[1]
            first, second = children(serve.process.pid)

            os.kill(first, signal.SIGKILL)
            serve.wait_for("worker.started_again")

            assert second in children(serve.process.pid)
            assert {readiness(address).status_code for _ in range(10)} == {200}
            assert serve.interrupt() == 0
        assert up.interrupt() == 0


def test_serve_says_what_is_missing_when_no_database_runs(tmp_path: Path):
    ended = guilder("serve", env=environment(tmp_path), folder=tmp_path)

    assert ended.returncode == 1
    assert "start `guilder up`, or set GUILDER_DATABASE_URL" in ended.stderr


def test_a_migration_that_was_killed_is_done_by_the_next(tmp_path: Path):
    env = environment(tmp_path)
    armed = env | {"GUILDER_FAILPOINTS": "migrate.before_commit=hit:2:kill"}

    killed = guilder("migrate", env=armed, folder=tmp_path)
    done = guilder("migrate", env=env, folder=tmp_path)
    again = guilder("migrate", env=env, folder=tmp_path)

    assert killed.returncode == -signal.SIGKILL
    assert done.returncode == 0
    assert "platform v0001" not in done.stdout
    assert "identity v0001" in done.stdout
    assert again.stdout == "Nothing to migrate.\n"
    assert processes_on(cluster_of(tmp_path)) == frozenset()


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"PORT": "eight"}, "guilder: GUILDER_PORT: 'eight' cannot be used"),
        ({"FAILPOINTS": "nowhere.at_all=kill"}, "there is no failpoint 'nowhere.at_all'"),
        (
            {"ENV": "production", "ALLOWED_HOSTS": "a.example", "FAILPOINTS": "a.b=kill"},
            "guilder: GUILDER_FAILPOINTS is refused in production",
        ),
        ({"DATABASE_URL": "postgresql://anna:open-sesame@127.0.0.1:1/guilder"}, "cannot be used"),
    ],
)
def test_wrong_settings_are_told_in_a_line(tmp_path: Path, settings: dict[str, str], line: str):
    ended = guilder("up", env=environment(tmp_path, **settings), folder=tmp_path)

    assert ended.returncode == 1
    assert line in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "open-sesame" not in ended.stderr


def test_an_unknown_variable_is_warned_of(tmp_path: Path):
    ended = guilder("settings", env=environment(tmp_path, PROT="1"), folder=tmp_path)

    assert ended.returncode == 0
    assert "GUILDER_PROT is not a setting" in ended.stderr


def test_settings_and_failpoints_can_be_read_by_programs(tmp_path: Path):
    env = environment(tmp_path)

    settings = json.loads(guilder("settings", "--json", env=env, folder=tmp_path).stdout)
    failpoints = json.loads(guilder("failpoints", "--json", env=env, folder=tmp_path).stdout)

    assert settings["GUILDER_PORT"]["value"] == "0"
    assert "migrate.before_commit" in failpoints


def test_the_version_is_shown_where_nothing_else_is_asked_for(tmp_path: Path):
    shown = guilder("--version", env=environment(tmp_path), folder=tmp_path)

    assert (shown.returncode, shown.stdout) == (0, f"Guilder {__version__}\n")


def test_help_lists_every_command(tmp_path: Path):
    shown = guilder("--help", env=environment(tmp_path), folder=tmp_path)

    assert shown.returncode == 0
    for name in ("up", "serve", "work", "migrate", "settings", "failpoints"):
        assert f"\n  {name} " in shown.stdout
