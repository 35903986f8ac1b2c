"""How long ``guilder up`` takes on a data folder that exists, to its first good answer."""

from __future__ import annotations

import statistics
import time
from typing import Final

import httpx2

from guilder.apps.bench.figure import Figure
from guilder.apps.bench.ground import Ground
from guilder.apps.bench.serving import started

_TIMES: Final = 3
_LONGEST_S: Final = 60.0
_POLL_S: Final = 0.01


def measure(ground: Ground) -> Figure:
    """Seconds from the command to the first 200 of /health/ready, the middle one of three.

    The ground's own server must have stopped: each start runs it again.
    """
    took = sorted(_start(ground) for _ in range(_TIMES))
    return Figure(
        name="start",
        title="guilder up, to the first 200 of /health/ready",
        unit="s",
        value=statistics.median(took),
        target=3.0,
        is_cost=True,
        detail={"fastest": round(took[0], 2), "slowest": round(took[-1], 2)},
    )


def _start(ground: Ground) -> float:
    began = time.monotonic()
    with started(ground.folder, settings={}) as server:
        _wait_until_ready(f"{server.url}/health/ready")
        return time.monotonic() - began


def _wait_until_ready(url: str) -> None:
    until = time.monotonic() + _LONGEST_S
    while httpx2.get(url).status_code != httpx2.codes.OK and time.monotonic() < until:
        time.sleep(_POLL_S)
