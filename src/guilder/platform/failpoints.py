"""Named places in the code where a test can make the process die, fail or wait. Off by default.

``GUILDER_FAILPOINTS`` holds ``name=action``, several separated by commas:

- ``batch.locked=kill``: the process ends there as by ``kill -9``
- ``batch.locked=raise``: `FailpointReached` is raised there
- ``batch.locked=sleep:250``: it waits there for 250 milliseconds
- ``batch.locked=hit:3:kill``: the action happens on the third pass only; ``hit:3`` alone kills

Each time one acts it says so on standard error, so that a test can tell a fault that never was.
A process has one registry, behind the functions of this module: a module declares its points when
it is imported.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from guilder.platform.startup import CannotStart

_WRITTEN: Final = re.compile(
    r"(?P<name>[a-z_]+(\.[a-z_]+)+)="
    r"(hit:(?P<hit>[1-9]\d*)(:|$))?((?P<action>kill|raise)|sleep:(?P<sleep_ms>\d+))?"
)


class FailpointReached(RuntimeError):
    """A failpoint that is set to ``raise`` was reached."""


class WrongFailpoints(CannotStart):
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


class Failpoints:
    """Failpoints by name, with what each of them is set to do."""

    def __init__(self) -> None:
        self._declared: dict[str, str] = {}
        self._armed: dict[str, _Armed] = {}

    def declare(self, name: str, meaning: str) -> str:
        """Make ``name`` known, with what is true of the process there. Returns ``name``."""
        self._declared[name] = meaning
        return name

    def declared(self) -> Mapping[str, str]:
        """Meaning by name, of every failpoint of the modules imported so far."""
        return dict(sorted(self._declared.items()))

    def arm(self, written: str) -> None:
        """Set the failpoints to what ``written`` says, and every other one off.

        Raises:
            WrongFailpoints: it cannot be read, or a name was never declared.
        """
        found = dict(_read(part.strip()) for part in written.split(",") if part.strip())
        for name in found:
            if name not in self._declared:
                raise WrongFailpoints(f"GUILDER_FAILPOINTS: there is no failpoint {name!r}")
        self._armed = found

    async def reach(self, name: str) -> None:
        """Do at ``name`` what a test asked for: nothing, unless armed.

        Raises:
            FailpointReached: it was asked to.
        """
        if self._armed:
            await asyncio.sleep(self._act(name))

    def reach_now(self, name: str) -> None:
        """`reach` for code outside an event loop.

        Raises:
            FailpointReached: it was asked to.
        """
        if self._armed:
            time.sleep(self._act(name))

    def _act(self, name: str) -> float:
        """Kill or raise; or return for how many seconds to wait."""
        armed = self._armed.get(name)
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
    action = match["action"] or ("sleep" if match["sleep_ms"] else "kill")
    hit = int(match["hit"]) if match["hit"] else None
    return match["name"], _Armed(action=action, sleep_s=int(match["sleep_ms"] or 0) / 1000, hit=hit)


_OF_THIS_PROCESS: Final = Failpoints()
declare = _OF_THIS_PROCESS.declare
declared = _OF_THIS_PROCESS.declared
arm = _OF_THIS_PROCESS.arm
reach = _OF_THIS_PROCESS.reach
reach_now = _OF_THIS_PROCESS.reach_now
