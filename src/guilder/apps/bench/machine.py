"""The machine that figures were measured on, without its name."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import msgspec

from guilder.platform.postgres.tuning import available_memory_bytes


class Machine(msgspec.Struct, kw_only=True):
    """What somebody has to know to judge a figure. ``load`` is the average of the last minute."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    file_system: str
    load_before: float
    load_after: float | None = None


def this_machine(data: Path) -> Machine:
    """This machine; ``data`` is where the database keeps its files."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(available_memory_bytes() / 2**30, 1),
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        file_system=file_system(data),
        load_before=load_now(),
    )


def load_now() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def file_system(path: Path) -> str:
    """The kind of file system that ``path`` lies on, ``ext4`` or the like."""
    found, kind = Path("/"), "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, name, *_ = line.split(" ")
        point = Path(where)
        if path.resolve().is_relative_to(point) and point.is_relative_to(found):
            found, kind = point, name
    return kind


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()
