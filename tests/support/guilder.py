"""The real command ``guilder`` in a process of its own, with its output at hand."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Self

import httpx2

PATIENCE_S = 60


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """What ``guilder`` is told: these settings, and none of the surroundings'."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUILDER_")}
    given = {"DATA_DIR": str(data_dir), "PORT": "0", **settings}
    return kept | {f"GUILDER_{name}": value for name, value in given.items()}


def guilder(
    *arguments: str, env: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(arguments), env=env, cwd=folder, capture_output=True, text=True, check=False
    )


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "guilder.apps.cli", *arguments]


class Running:
    """``guilder up`` or another command that stays, in a session of its own as in a terminal."""

    def __init__(self, *arguments: str, env: Mapping[str, str], folder: Path) -> None:
        self.process = subprocess.Popen(
            command(arguments),
            env=env,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.said: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill_everything()
        self._reader.join(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line from now on that ``pattern`` is found in."""
        until = monotonic() + PATIENCE_S
        with suppress(queue.Empty):
            while (line := self._lines.get(timeout=max(0, until - monotonic()))) is not None:
                self.said.append(line)
                if found := re.search(pattern, line):
                    return found
        raise AssertionError(f"it did not say {pattern!r}: {self.said}")

    def address(self) -> str:
        """Where it answers, once it says so."""
        return self.wait_for(r"(http://[\w.:]+)/api/v1")[1]

    def interrupt(self) -> int:
        """Press Ctrl-C: every process of the session gets SIGINT. The status it ends with."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """The status it ends with, of its own accord."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self.said.append(line)
        return status

    def die_at(self, point: str) -> None:
        """Wait until one of its processes was killed at a failpoint, then ``kill -9`` the others.

        They would start it again, and it would be killed there again.
        """
        line = f"failpoint {point}: kill"
        if line not in self.said:
            self.wait_for(re.escape(line))
        self.kill_everything()

    def kill(self) -> None:
        """``kill -9`` of the process that was started, and of nothing else."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def kill_everything(self) -> None:
        """``kill -9`` of every process of its session."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)


def readiness(address: str) -> httpx2.Response:
    return httpx2.get(f"{address}/health/ready", timeout=PATIENCE_S)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started and that live."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
