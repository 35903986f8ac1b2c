"""PostgreSQL's own benchmark, the measure of all ratios: TPC-B of ``pgbench -M prepared``."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from guilder.apps.bench.figure import Figure
from guilder.apps.bench.ground import Ground, Report
from guilder.platform.postgres.access import create_database, drop_database
from guilder.platform.postgres.binaries import bundled_programs
from guilder.platform.postgres.folder import SUPERUSER
from guilder.platform.startup import CannotStart

CLIENTS: Final = (8, 32)
_DATABASE: Final = "pgbench"
_PATIENCE_S: Final = 300


class CannotMeasure(CannotStart):
    """A program that measures did not do what it should."""


async def tpc_b(ground: Ground, *, seconds: float, scale: int, report: Report) -> Figure:
    """Transactions a second, the best of 8 and 32 clients.

    Raises:
        CannotMeasure: pgbench failed.
    """
    await create_database(ground.server, database=_DATABASE)
    try:
        report(f"pgbench: filling scale {scale}")
        _run(ground, ["--initialize", "--quiet", f"--scale={scale}"], patience_s=_PATIENCE_S)
        found: dict[int, float] = {}
        for clients in CLIENTS:
            await ground.settle()
            report(f"pgbench: {clients} clients")
            found[clients] = _measure(ground, clients=clients, seconds=seconds)
    finally:
        await drop_database(ground.server, database=_DATABASE)
    best = max(found, key=lambda clients: found[clients])
    return Figure(
        name="pgbench",
        title="pgbench TPC-B, -M prepared",
        unit="/s",
        value=found[best],
        detail={
            "scale": scale,
            **{f"{clients} clients": round(found[clients]) for clients in found},
        },
    )


def _measure(ground: Ground, *, clients: int, seconds: float) -> float:
    said = _run(
        ground,
        [
            "--protocol=prepared",
            f"--client={clients}",
            "--jobs=2",
            f"--time={max(1, round(seconds))}",
            "--no-vacuum",
        ],
        patience_s=seconds + _PATIENCE_S,
    )
    tps = re.search(r"^tps = ([\d.]+)", said, re.MULTILINE)
    if tps is None:
        raise CannotMeasure(f"pgbench told no figure: {said.strip()}")
    return float(tps[1])


def _run(ground: Ground, arguments: Sequence[str], *, patience_s: float) -> str:
    where = urlsplit(ground.server.url(SUPERUSER, database=_DATABASE))
    query = parse_qs(where.query)
    ended = subprocess.run(
        [str(bundled_programs() / "pgbench"), *arguments],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PGUSER": where.username or "",
            "PGPASSWORD": unquote(where.password or ""),
            "PGHOST": query["host"][0],
            "PGPORT": query["port"][0],
            "PGDATABASE": _DATABASE,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=patience_s,
    )
    if ended.returncode != 0:
        raise CannotMeasure(f"pgbench failed: {ended.stderr.strip()}")
    return ended.stdout
