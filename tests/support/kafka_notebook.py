"""A worker that relays to Kafka and feeds one listener from there, as a process of its own.

``python -m tests.support.kafka_notebook URL BROKERS GROUP TYPE``, with failpoints by
GUILDER_FAILPOINTS.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from guilder.platform import failpoints
from guilder.platform.bus import Start
from guilder.platform.db import Database
from guilder.platform.kafka.feeding import KafkaBus
from tests.support.notebook import IMPATIENT, QUICK, taking_notes


def kafka_worker(
    url: str, *, brokers: str, group: str, type_: str, failing: str = ""
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.kafka_notebook", url, brokers, group, type_],
        env=os.environ | {"GUILDER_FAILPOINTS": failing},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def _work(url: str, brokers: str, group: str, type_: str) -> None:
    db = await Database.connect(url, max_connections=6, limits=QUICK)
    failpoints.arm(os.environ["GUILDER_FAILPOINTS"])
    listener = taking_notes(group, types=frozenset({type_}), starts=Start.NOW)
    options = {"session.timeout.ms": "6000", "heartbeat.interval.ms": "1000"}
    bus = KafkaBus(db, [listener], bootstrap=brokers, options=options, patience=IMPATIENT)
    await bus.run()


if __name__ == "__main__":
    asyncio.run(_work(*sys.argv[1:5]))
