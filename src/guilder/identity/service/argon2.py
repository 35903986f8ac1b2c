"""Argon2id as Guilder uses it; and, run by name, a process that does nothing else.

The process reads questions from its input, one JSON list a line: a password, or a password and the
hash it is said to have. It answers with one line each, gives way to everything else on the machine,
and ends when its input does.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pwdlib.hashers.argon2 import Argon2Hasher

SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
_NICENESS: Final = 10
"""As background work: later than requests, and not never, where the processor is not enough."""
_OWN_GROUP: Final = Path("/proc/self/autogroup")


def argon2(*, passes: int, memory_kib: int, lanes: int) -> Argon2Hasher:
    """A hasher of this cost."""
    return Argon2Hasher(
        time_cost=passes,
        memory_cost=memory_kib,
        parallelism=lanes,
        hash_len=HASH_BYTES,
        salt_len=SALT_BYTES,
    )


def _give_way() -> None:
    """Take the processor after others: in this session's group, and the group among groups.

    Linux shares the processor among sessions first where it groups them, and niceness counts
    within one only; so the group, which is this process's own, is made nice as well.
    """
    os.nice(_NICENESS)
    with suppress(OSError):
        _OWN_GROUP.write_text(str(_NICENESS))


def main() -> None:
    """Answer until the input ends."""
    passes, memory_kib, lanes = map(int, sys.argv[1:])
    _give_way()
    hasher = argon2(passes=passes, memory_kib=memory_kib, lanes=lanes)
    for line in sys.stdin.buffer:
        sys.stdout.write(f"{json.dumps(_answer(hasher, *json.loads(line)))}\n")
        sys.stdout.flush()


def _answer(hasher: Argon2Hasher, password: str, stored: str | None = None) -> str | bool:
    return hasher.hash(password) if stored is None else hasher.verify(password, stored)


if __name__ == "__main__":
    main()
