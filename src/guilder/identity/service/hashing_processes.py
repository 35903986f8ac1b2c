"""Hashes passwords in processes of their own, so that nothing in this one waits for it.

A thread would share this process's interpreter, and its share of the processor, with requests.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import Final

import structlog

from guilder.kernel.errors import Overloaded
from guilder.kernel.invariant import invariant
from guilder.platform.child_environment import child_environment

_log = structlog.get_logger("guilder.identity")
_PROGRAM: Final = "guilder.identity.service.argon2"
_ATTEMPTS: Final = 2
_RETRY_AFTER_S: Final = 2


class HashingProcesses:
    """``at_once`` processes, each started when it is first needed and again when it has died.

    They end when this process does, however that ends: each reads from a pipe that only it writes.
    """

    def __init__(self, *, passes: int, memory_kib: int, lanes: int, at_once: int) -> None:
        self._arguments = (str(passes), str(memory_kib), str(lanes))
        self._places = asyncio.Semaphore(at_once)
        self._idle: list[Process] = []
        self._started: set[Process] = set()

    async def hash(self, password: str) -> str:
        """The text to store for ``password``.

        Raises:
            Overloaded: the processes die as fast as they are started.
        """
        answer = await self._ask(password)
        invariant(isinstance(answer, str), "a hash is text")
        return str(answer)

    async def verify(self, password: str, *, stored: str) -> bool:
        """Whether ``stored`` was made of ``password``.

        Raises:
            Overloaded: the processes die as fast as they are started.
        """
        return await self._ask(password, stored) is True

    async def close(self) -> None:
        """End the processes, each once it has answered. Nobody asks any more."""
        self._idle.clear()
        await asyncio.gather(*map(self._end, tuple(self._started)))

    async def _ask(self, *question: str) -> object:
        line = json.dumps(question).encode() + b"\n"
        async with self._places:
            for _ in range(_ATTEMPTS):
                process = self._idle.pop() if self._idle else await self._start()
                answer = await _answer(process, line)
                if answer:
                    self._idle.append(process)
                    return json.loads(answer)
                _log.warning("passwords.process_died", code=await self._end(process))
        raise Overloaded(retry_after_s=_RETRY_AFTER_S)

    async def _start(self) -> Process:
        # A session of its own: it is not a terminal's to interrupt, and it can be made nice whole.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", _PROGRAM, *self._arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            start_new_session=True,
            env=child_environment(),
        )
        self._started.add(process)
        return process

    async def _end(self, process: Process) -> int:
        """Let a process end, which it does when nothing more is to be read."""
        if process.stdin is not None:
            process.stdin.close()
        status = await process.wait()
        self._started.discard(process)
        return status


async def _answer(process: Process, line: bytes) -> bytes:
    """The process's answer to a line; empty: it has died."""
    if process.stdin is None or process.stdout is None:
        return b""
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(line)
        await process.stdin.drain()
        return await process.stdout.readline()
    return b""
