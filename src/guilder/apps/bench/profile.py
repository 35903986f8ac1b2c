"""Where a transfer's time goes in the server: each statement's share, by pg_stat_statements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from rich.table import Table

from guilder.apps.bench.ground import Ground
from guilder.platform.postgres.statements import Statement, preload, statements

SHOWN: Final = 16
_WIDTH: Final = 80


class Share(msgspec.Struct, kw_only=True):
    """What one statement costs a transfer. ``calls`` is of the whole measurement."""

    text: str
    calls: int
    us: float
    wal_bytes: float


async def prepare(ground: Ground) -> None:
    """Have the server count statements from its next start, and start it again."""
    async with ground.superuser() as db:
        await preload(db)
    ground.server.stop()
    ground.server.start()


def shares(counted: Sequence[Statement], *, transfers: int) -> list[Share]:
    """The costliest statements, each divided by how many transfers there were."""
    return [
        Share(
            text=statement.text,
            calls=statement.calls,
            us=round(statement.total_ms * 1e3 / transfers, 2),
            wal_bytes=round(statement.wal_bytes / transfers, 1),
        )
        for statement in counted[:SHOWN]
    ]


async def counted(ground: Ground) -> list[Statement]:
    """What the server has counted for Guilder's database since the last look, costliest first."""
    async with ground.superuser(database=ground.database) as db:
        return await statements(db)


def table(shown: Sequence[Share]) -> Table:
    """The shares for people."""
    made = Table(box=None, pad_edge=False, title="\nA transfer in the server", title_justify="left")
    for heading in ("µs", "WAL bytes", "calls"):
        made.add_column(heading, justify="right")
    made.add_column("statement", no_wrap=True, max_width=_WIDTH)
    for share in shown:
        made.add_row(f"{share.us:.2f}", f"{share.wal_bytes:.0f}", f"{share.calls}", share.text)
    total_us, total_bytes = (sum(s.us for s in shown), sum(s.wal_bytes for s in shown))
    made.add_row(f"{total_us:.2f}", f"{total_bytes:.0f}", "", "together")
    return made
