"""How long a session lasts, and what a refresh token that is shown again means.

A session's refresh tokens are a chain: each is used once and names its only successor. Repeating
the use within `GRACE` gives that same successor again as long as nobody has used it, so a lost
answer costs nothing and the chain never forks. Any other repetition shows that two hold the token.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256
from types import MappingProxyType
from typing import Final

GRACE: Final = timedelta(seconds=30)
SECRET_BYTES: Final = 32

# The last character of 32 bytes carries four bits, so only sixteen are canonical.
_TOKEN: Final = re.compile(r"(grt|gdt)_([\w-]{42}[AEIMQUYcgkosw048])", re.ASCII)
_REFRESH: Final = "grt"
_DEVICE: Final = "gdt"
# In this order: most of them also claim to be those below them.
_BROWSERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Edg": "Edge",
        "OPR/": "Opera",
        "SamsungBrowser/": "Samsung Internet",
        "Firefox/": "Firefox",
        "FxiOS/": "Firefox",
        "CriOS/": "Chrome",
        "Chrome/": "Chrome",
        "Safari/": "Safari",
    }
)
_SYSTEMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Windows": "Windows",
        "Android": "Android",
        "iPhone": "iOS",
        "iPad": "iPadOS",
        "Mac OS X": "macOS",
        "CrOS": "ChromeOS",
        "Linux": "Linux",
    }
)
_VERSIONS: Final = re.compile(r"[0-9][0-9._]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a session may rest between two refreshes, and how long it may last at all."""

    rests: timedelta = timedelta(days=7)
    lasts: timedelta = timedelta(days=90)

    def ends(self, *, used_at: datetime, started_at: datetime) -> datetime:
        """Until when a session can be refreshed that was used at ``used_at``."""
        return min(used_at + self.rests, started_at + self.lasts)


class Verdict(Enum):
    """What is done with a refresh token."""

    ROTATE = "rotate"
    """It is good and now used."""
    REPEAT = "repeat"
    """The answer to its use was lost: it is given again."""
    OVER = "over"
    """It, or its session, has ended."""
    STOLEN = "stolen"
    """It was used before: somebody else has it, and the session ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A refresh token that was shown, with what is known of it and of its session."""

    has_ended: bool
    expires_at: datetime
    used_at: datetime | None
    successor_is_used: bool


def judge(shown: Shown, *, at: datetime) -> Verdict:
    """What a refresh token means at ``at``, the session being locked."""
    if shown.has_ended or shown.expires_at <= at:
        return Verdict.OVER
    if shown.used_at is None:
        return Verdict.ROTATE
    if at - shown.used_at <= GRACE and not shown.successor_is_used:
        return Verdict.REPEAT
    return Verdict.STOLEN


def spelled(secret: bytes) -> str:
    """The refresh token that stands for ``secret``. Its beginning lets scanners find it."""
    return _spelled(_REFRESH, secret=secret)


def read_refresh_token(text: str) -> bytes | None:
    """The secret of a refresh token in its one spelling; None: it is none."""
    return _read(_REFRESH, text=text)


def spelled_device(secret: bytes) -> str:
    """The token that a device is remembered by."""
    return _spelled(_DEVICE, secret=secret)


def read_device_token(text: str) -> bytes | None:
    """The secret that a device is remembered by; None: it is none."""
    return _read(_DEVICE, text=text)


def successor(secret: bytes, *, salt: bytes) -> bytes:
    """The secret that follows ``secret``.

    Whoever has only the salt, which is kept, or only the secret, which is not, cannot tell it.
    """
    return hmac.digest(secret, b"guilder refresh token|" + salt, "sha256")


def digest(secret: bytes) -> bytes:
    """What is kept of a secret. 256 random bits need no slow hash."""
    return sha256(b"guilder session secret|" + secret).digest()


def program_of(user_agent: str | None) -> str | None:
    """The same for the same program on the same kind of device; its version does not count."""
    if user_agent is None:
        return None
    return sha256(_VERSIONS.sub("", user_agent).encode()).hexdigest()[:32]


def place_of(program: str | None, *, network: str) -> str:
    """The same for the same program in the same network: where a device is at home."""
    return sha256(f"{program or ''}|{network}".encode()).hexdigest()[:32]


def device_of(user_agent: str | None) -> str | None:
    """What somebody signs in with, as they would call it; None: it does not say.

    No word of the answer is the caller's own, since it is told to somebody else.
    """
    agent = user_agent or ""
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in agent), None)
    return " on ".join(name for name in (browser, system) if name is not None) or None


def _spelled(kind: str, *, secret: bytes) -> str:
    return f"{kind}_{urlsafe_b64encode(secret).decode('ascii').rstrip('=')}"


def _read(kind: str, *, text: str) -> bytes | None:
    found = _TOKEN.fullmatch(text)
    if found is None or found[1] != kind:
        return None
    return urlsafe_b64decode(found[2] + "=")
