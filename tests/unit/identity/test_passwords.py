"""Hashing of passwords: right, bounded, and no different for a user who does not exist."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from guilder.identity.service.passwords import PasswordCost, Passwords, hashes_at_once
from guilder.kernel.errors import Overloaded

CHEAP = PasswordCost(passes=1, memory_kib=64, lanes=1)
SLOWER = PasswordCost(passes=1, memory_kib=8 * 1024, lanes=1)


async def test_hash_matches_its_password_only() -> None:
    passwords = Passwords(cost=CHEAP)

    stored = await passwords.hash("SecurePass123")

    assert stored.startswith("$argon2id$")
    assert await passwords.match("SecurePass123", stored=stored)
    assert not await passwords.match("securepass123", stored=stored)
    await passwords.close()


async def test_same_password_is_never_stored_alike() -> None:
    passwords = Passwords(cost=CHEAP)

    first, second = await asyncio.gather(passwords.hash("OldPass123"), passwords.hash("OldPass123"))

    assert first != second
    await passwords.close()


async def test_unknown_user_is_checked_against_a_decoy_of_the_same_cost() -> None:
    passwords = Passwords(cost=CHEAP)
    real = await passwords.hash("SecurePass123")

    assert not await passwords.match("SecurePass123", stored=None)
    assert passwords.decoy.split("$")[:4] == real.split("$")[:4]
    assert [len(part) for part in passwords.decoy.split("$")] == [
        len(part) for part in real.split("$")
    ]
    await passwords.close()


async def test_queue_beyond_its_bound_is_refused_and_recovers() -> None:
    passwords = Passwords(cost=SLOWER, at_once=1, waiting=2)

    outcomes = await asyncio.gather(
        *(passwords.hash("SecurePass123") for _ in range(10)), return_exceptions=True
    )

    assert sum(isinstance(outcome, str) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 7
    assert await passwords.hash("SecurePass123")
    await passwords.close()


async def test_caller_who_goes_away_keeps_the_place_until_the_thread_is_done() -> None:
    passwords = Passwords(cost=SLOWER, at_once=1, waiting=0)
    gone = passwords.hash("SecurePass123")
    gone.send(None)
    gone.close()

    with pytest.raises(Overloaded):
        await passwords.hash("SecurePass123")
    await passwords.close()


async def test_hashing_gives_way_to_everything_else() -> None:
    passwords = Passwords(cost=CHEAP, at_once=1)
    await passwords.hash("SecurePass123")

    niceness = {
        os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.name.startswith("passwords") and thread.native_id
    }

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert niceness == {min(own + 10, 19)}
    await passwords.close()


def test_what_is_hashed_at_once_is_shared_among_processes() -> None:
    assert 1 <= hashes_at_once(processes=64) <= hashes_at_once() <= 4
