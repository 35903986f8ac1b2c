"""One-time passwords by time (RFC 6238): which code belongs to a moment, and how long to wait.

SHA-1, six digits and thirty seconds are what every authenticator app can do; the secret has the
160 bits that RFC 4226 recommends. A code is good in its own step and the two beside it.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Final

SECRET_BYTES: Final = 20
DIGITS: Final = 6
STEP: Final = timedelta(seconds=30)
FREE_FAILURES: Final = 4
"""So many wrong codes in a row are answered at once; each one after them doubles the wait."""
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(hours=1)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SKEW_STEPS: Final = 1
_CODE: Final = re.compile(r"[0-9]{3} ?[0-9]{3}", re.ASCII)
_DOUBLINGS: Final = 7


def step_of(moment: datetime) -> int:
    """How many steps have passed since 1970."""
    return (moment - _EPOCH) // STEP


def code(secret: bytes, *, step: int) -> str:
    """The code of ``secret`` in a step (RFC 4226, section 5.3)."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def read_code(text: str) -> str | None:
    """The six digits somebody typed, perhaps in two groups; None: it is no such code."""
    typed = text.strip(" ")
    return typed.replace(" ", "") if _CODE.fullmatch(typed) else None


def matching_step(typed: str, *, secret: bytes, moment: datetime, after: int) -> int | None:
    """The step whose code was typed, later than step ``after``, or None.

    A code that was good once is never good again, nor is one of an earlier step (RFC 6238, 5.2).
    """
    now, found = step_of(moment), None
    for step in range(now - _SKEW_STEPS, now + _SKEW_STEPS + 1):
        # every step is compared, so that the time tells nothing of which one it was
        if hmac.compare_digest(code(secret, step=step), typed) and step > after:
            found = step
    return found


def wait_after(failures: int) -> timedelta:
    """How long no code is looked at after so many wrong ones in a row."""
    if failures <= FREE_FAILURES:
        return timedelta()
    return min(FIRST_WAIT * (1 << min(failures - FREE_FAILURES - 1, _DOUBLINGS)), LONGEST_WAIT)
