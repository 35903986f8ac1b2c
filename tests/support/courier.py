"""A courier in a process of its own, to be killed: ``python -m tests.support.courier URL KEYS``.

It sends what is due to the sandbox outbox, once, under leases that are over at once; failpoints are
set by GUILDER_FAILPOINTS.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from guilder.notifications.api import Channel
from guilder.notifications.service.channels.simulated import SandboxOutbox
from guilder.platform import failpoints
from guilder.platform.db import Database
from tests.support.newsstand import Newsstand


def run(url: str, *, keys: Path, armed: str) -> subprocess.CompletedProcess[str]:
    """Let one work until it ends or is ended."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.courier", url, str(keys)],
        env={**os.environ, "GUILDER_FAILPOINTS": armed},
        capture_output=True,
        text=True,
        check=False,
    )


async def main(url: str, keys: str) -> None:
    failpoints.arm(os.environ["GUILDER_FAILPOINTS"])
    db = await Database.connect(url)
    stand = Newsstand(db, keys=Path(keys), senders={Channel.EMAIL: SandboxOutbox(db)})
    await stand.courier(lease_s=0.0).deliver()
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
