"""Named places in the code where a test can make the process die, fail or wait. Off by default.

``GUILDER_FAILPOINTS`` holds ``name=action``, several separated by commas:

- ``batch.locked=kill``: the process ends there as by ``kill -9``
- ``batch.locked=raise``: `FailpointReached` is raised there
- ``batch.locked=sleep:250``: it waits there for 250 milliseconds
- ``batch.locked=hit:3:kill``: the action happens on the third pass only; ``hit:3`` alone kills

Each time one acts it says so on standard error, so that a test can tell a fault that never was.
This is the one registry a process has: a module declares its points when it is imported.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?P<name>[a-z_]+(\.[a-z_]+)+)="
    r"(hit:(?P<hit>[1-9]\d*)(:|$))?((?P<action>kill|raise)|sleep:(?P<sleep_ms>\d+))?"
)
_declared: Final[dict[str, str]] = {}
_armed: Final[dict[str, _Armed]] = {}


class FailpointReached(RuntimeError):
    """A failpoint that is set to ``raise`` was reached."""


class WrongFailpoints(ValueError):
    """``GUILDER_FAILPOINTS`` cannot be read, or names a point that does not exist."""


@dataclass(slots=True, kw_only=True)
class _Armed:
    action: str
    sleep_s: float
    hit: int | None
    passes: int = 0

    def is_due(self) -> bool:
        self.passes += 1
        return self.hit is None or self.passes == self.hit


def declare(name: str, meaning: str) -> str:
    """Make ``name`` known, with what is true of the process there. Returns ``name``."""
    _declared[name] = meaning
    return name


def declared() -> Mapping[str, str]:
    """Meaning by name, of every failpoint of the modules imported so far."""
    return MappingProxyType(dict(sorted(_declared.items())))


def arm(written: str) -> None:
    """Set the failpoints to what ``written`` says, and every other one off.

    Raises:
        WrongFailpoints: it cannot be read, or a name was never declared.
    """
    found = [_read(part.strip()) for part in written.split(",") if part.strip()]
    _armed.clear()
    _armed.update(found)


async def reach(name: str) -> None:
    """Do at ``name`` what a test asked for: nothing, unless armed.

    Raises:
        FailpointReached: it was asked to.
    """
    if _armed:
        await asyncio.sleep(_act(name))


def reach_now(name: str) -> None:
    """`reach` for code outside an event loop.

    Raises:
        FailpointReached: it was asked to.
    """
    if _armed:
        time.sleep(_act(name))


def _act(name: str) -> float:
    """Kill or raise; or return for how many seconds to wait."""
    armed = _armed.get(name)
    if armed is None or not armed.is_due():
        return 0.0
    os.write(2, f"failpoint {name}: {armed.action}\n".encode())
    if armed.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if armed.action == "raise":
        raise FailpointReached(name)
    return armed.sleep_s


def _read(part: str) -> tuple[str, _Armed]:
    match = _WRITTEN.fullmatch(part)
    if match is None or part.endswith(("=", ":")):
        raise WrongFailpoints(
            f"GUILDER_FAILPOINTS: {part!r} is not name=kill, raise, sleep:ms or hit:n:action"
        )
    name = match["name"]
    if name not in _declared:
        raise WrongFailpoints(f"GUILDER_FAILPOINTS: there is no failpoint {name!r}")
    action = match["action"] or ("sleep" if match["sleep_ms"] else "kill")
    hit = int(match["hit"]) if match["hit"] else None
    return name, _Armed(action=action, sleep_s=int(match["sleep_ms"] or 0) / 1000, hit=hit)
