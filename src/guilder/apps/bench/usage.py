"""What processes used of the processors, read from the kernel's own accounts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_UTIME: Final = 11


def processor_s(pid: int) -> float:
    """Seconds of processor time of ``pid``, its children, and those it has outlived."""
    ticks = _ticks(pid, fields=4)
    for child in _children(pid):
        ticks += _ticks(child, fields=4)
    return ticks / _TICKS_PER_S


def resident_mib(pid: int) -> float:
    """Memory of ``pid`` alone that is in use, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        found = [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return found + [n for child in found for n in _children(child)]
    return []


def _ticks(pid: int, *, fields: int) -> int:
    """User and system time of a process and of the children it waited for."""
    with suppress(FileNotFoundError, ProcessLookupError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(n) for n in after_name[_UTIME : _UTIME + fields])
    return 0
