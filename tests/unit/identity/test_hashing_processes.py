"""Hashing in processes of its own: right, nice, alive again after a death, gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guilder.identity.service.passwords import PasswordCost, Passwords
from guilder.kernel.errors import Overloaded
from tests.support.waiting import until

CHEAP = PasswordCost(passes=1, memory_kib=64, lanes=1)
SLOWER = PasswordCost(passes=1, memory_kib=8 * 1024, lanes=1)
_PARENT = """
import asyncio
from guilder.identity.service.passwords import PasswordCost, Passwords

async def work():
    passwords = Passwords(cost=PasswordCost(passes=1, memory_kib=64, lanes=1), apart=True)
    await passwords.hash("SecurePass123")
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(work())
"""


def children(pid: int) -> set[int]:
    try:
        return {int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except (FileNotFoundError, ProcessLookupError):
        return set()


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    passwords = Passwords(cost=CHEAP, at_once=1, apart=True)
    yield passwords
    await passwords.close()


@pytest.fixture
async def process(passwords: Passwords) -> int:
    """The id of the process that hashes."""
    before = children(os.getpid())
    await passwords.hash("SecurePass123")
    (started,) = children(os.getpid()) - before
    return started


async def test_a_hash_made_apart_matches_its_password_only(passwords: Passwords) -> None:
    stored = await passwords.hash("Sécure\u2028\"Pass' 123 \U0001f600")

    assert stored.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await passwords.match("Sécure\u2028\"Pass' 123 \U0001f600", stored=stored)
    assert not await passwords.match("Secure", stored=stored)
    assert not await passwords.match("SecurePass123", stored=None)
    assert not await passwords.match("SecurePass123", stored="not a hash")


async def test_a_hash_is_the_same_wherever_it_is_checked(passwords: Passwords) -> None:
    here = Passwords(cost=CHEAP)

    assert await here.match("SecurePass123", stored=await passwords.hash("SecurePass123"))
    assert await passwords.match("SecurePass123", stored=await here.hash("SecurePass123"))
    await here.close()


async def test_it_gives_way_and_is_in_nobody_elses_session(process: int) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert os.getpriority(os.PRIO_PROCESS, process) == min(19, ours + 10)
    assert os.getsid(process) == process


async def test_it_knows_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDER_KEY_PASSPHRASE", "nobody knows")
    passwords = Passwords(cost=CHEAP, at_once=1, apart=True)
    before = children(os.getpid())
    await passwords.hash("SecurePass123")
    (started,) = children(os.getpid()) - before

    inherited = environment_of(started)

    await passwords.close()
    assert b"PATH=" in inherited
    assert b"nobody knows" not in inherited


async def test_a_process_that_died_is_started_again(passwords: Passwords, process: int) -> None:
    os.kill(process, signal.SIGKILL)

    assert await passwords.match("SecurePass123", stored=await passwords.hash("SecurePass123"))


async def test_a_question_is_asked_again_when_its_process_dies(passwords: Passwords) -> None:
    before = children(os.getpid())
    asking = asyncio.create_task(passwords.hash("SecurePass123"))

    async def started() -> bool:
        return bool(children(os.getpid()) - before)

    await until(started, "a process is started")
    (process,) = children(os.getpid()) - before
    os.kill(process, signal.SIGKILL)

    assert (await asking).startswith("$argon2id$")


async def test_questions_at_once_get_their_own_answers() -> None:
    passwords = Passwords(cost=CHEAP, at_once=3, apart=True)
    words = [f"password number {number}" for number in range(20)]

    stored = await asyncio.gather(*map(passwords.hash, words))

    pairs = zip(words, stored, strict=True)
    assert all([await passwords.match(word, stored=text) for word, text in pairs])
    assert not await passwords.match(words[0], stored=stored[1])
    await passwords.close()


async def test_a_caller_who_goes_away_leaves_no_answer_to_the_next(passwords: Passwords) -> None:
    stored = await passwords.hash("SecurePass123")
    gone = asyncio.create_task(passwords.match("SecurePass123", stored=stored))
    await asyncio.sleep(0)
    gone.cancel()

    assert not await passwords.match("WrongPass123", stored=stored)
    assert await passwords.match("SecurePass123", stored=stored)


async def test_the_queue_is_bounded_apart_too() -> None:
    passwords = Passwords(cost=SLOWER, at_once=1, waiting=2, apart=True)

    outcomes = await asyncio.gather(
        *(passwords.hash("SecurePass123") for _ in range(10)), return_exceptions=True
    )

    assert sum(isinstance(outcome, str) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 7
    await passwords.close()


async def test_closing_ends_the_processes(passwords: Passwords, process: int) -> None:
    await passwords.close()

    assert process not in children(os.getpid())


async def test_nothing_is_left_of_a_parent_that_was_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PARENT), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    (process,) = children(parent.pid)

    parent.kill()
    await parent.wait()

    async def is_gone() -> bool:
        return not lives(process)

    await until(is_gone, "the process that hashes has ended")
