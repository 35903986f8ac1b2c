"""Recovery codes as people write them: sixteen letters and digits that stand for eighty bits."""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256
from typing import Final
from uuid import UUID

HOW_MANY: Final = 10
CODE_BYTES: Final = 10

_GROUP: Final = 4
_CODE: Final = re.compile(r"[a-z2-7]{16}", re.ASCII)
_LONGEST: Final = 40
# Neither digit is in the alphabet, so whoever reads a printed code as one meant the letter.
_MISREAD: Final = str.maketrans({"0": "o", "1": "l", "-": None, " ": None})


def spelled(secret: bytes) -> str:
    """The code that stands for ``secret``, in groups of four."""
    text = b32encode(secret).decode("ascii").lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def read_recovery_code(text: str) -> str | None:
    """What somebody typed in one spelling; None: it is no such code."""
    if len(text) > _LONGEST:
        return None
    typed = text.lower().translate(_MISREAD)
    return typed if _CODE.fullmatch(typed) else None


def digest(typed: str, *, user_id: UUID) -> bytes:
    """What is kept of a code. Eighty random bits need no slow hash."""
    return sha256(b"guilder recovery code|" + user_id.bytes + typed.encode("ascii")).digest()
