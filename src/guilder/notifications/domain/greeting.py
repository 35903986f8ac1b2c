"""By which name somebody is greeted: anybody can register anybody's address under any name."""

from __future__ import annotations

import re
from typing import Final

# An address that mail programs make a link of, words that call out, a number to be called.
_NO_NAME: Final = re.compile(r"[:/@!?#$%&=+*\\|<>{}\[\]]|\w{2,}\.\w{2,}|www\.|(?:\d\D{0,2}){5}")


def is_greeted_by(full_name: str) -> bool:
    """Whether mails call somebody by this name. It may be in somebody else's words, to a reader
    who never heard of us; names that could send them somewhere are left out.
    """
    return bool(full_name) and _NO_NAME.search(full_name) is None
