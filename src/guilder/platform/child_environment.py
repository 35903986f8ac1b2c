"""What processes of ours that need no settings are started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

_PASSED_ON: Final = frozenset(
    {"HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH"}
)


def child_environment() -> Mapping[str, str]:
    """What it takes to find Python and our code: no settings, which hold secrets, nor others'."""
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON}
