"""The product as it is served, in processes of its own: ``guilder up`` on the bench's database."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guilder.apps.bench.ground import Ground
from guilder.apps.bench.pgbench import CannotMeasure
from guilder.apps.signals import undisturbed
from guilder.platform.bus.lag import lags

_ADDRESS: Final = re.compile(r"http://[^:/\s]+:(\d+)")
_LONGEST_START_S: Final = 60.0
_LONGEST_STOP_S: Final = 30.0
_LONGEST_CATCHING_UP_S: Final = 900.0
_LOOK_AGAIN_S: Final = 0.2
_POLL_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Guilder, answering on 127.0.0.1. ``pid`` is the process that the others descend from."""

    pid: int
    port: int

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def served(ground: Ground, *, workers: int, command: str = "up") -> Iterator[Served]:
    """``guilder up`` with so many workers on the ground's database, as long as the block lasts.

    ``command`` may be ``serve``: the same without background work.

    Raises:
        CannotMeasure: it does not start.
    """
    settings = {
        "GUILDER_DATABASE_URL": ground.access.url,
        "GUILDER_WORKERS": str(workers),
    }
    with started(ground.folder, settings=settings, command=command) as found:
        yield found


@contextmanager
def started(
    data_dir: Path, *, settings: Mapping[str, str], command: str = "up"
) -> Iterator[Served]:
    """``guilder up`` on a data folder, or ``serve``, once it says where it answers.

    Raises:
        CannotMeasure: it does not start.
    """
    log = data_dir / "guilder.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "guilder.apps.cli", command],
            env=_environment(data_dir, settings=settings),
            cwd=data_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield Served(pid=process.pid, port=_port(process, log=log))
    finally:
        with undisturbed():
            _stop(process)


async def caught_up(ground: Ground) -> None:
    """Return once background work has heard every event, so that no figure pays for old ones.

    Raises:
        CannotMeasure: it does not come to an end.
    """
    async with ground.pool(connections=1) as db:
        until = time.monotonic() + _LONGEST_CATCHING_UP_S
        while not (behind := await lags(db)) or any(lag.events for lag in behind):
            if time.monotonic() > until:
                raise CannotMeasure("background work does not catch up with the events")
            await asyncio.sleep(_LOOK_AGAIN_S)


def _environment(data_dir: Path, *, settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, less every setting of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUILDER_")}
    return {
        **kept,
        "GUILDER_DATA_DIR": str(data_dir),
        "GUILDER_HOST": "127.0.0.1",
        "GUILDER_PORT": "0",
        "GUILDER_RATE_LIMIT": "off",
        **settings,
    }


def _port(process: subprocess.Popen[bytes], *, log: Path) -> int:
    until = time.monotonic() + _LONGEST_START_S
    while time.monotonic() < until:
        said = log.read_text(errors="replace")
        if found := _ADDRESS.search(said):
            return int(found[1])
        if process.poll() is not None:
            raise CannotMeasure(f"guilder ended: {said.strip()[-500:]}")
        time.sleep(_POLL_S)
    raise CannotMeasure("guilder did not say in time where it answers")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_LONGEST_STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_LONGEST_STOP_S)
