"""How often Python looks for garbage in a process that serves."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (100_000, 20, 100)


def collect_rarely() -> None:
    """Leave what is loaded by now out of every search, and search less often for the rest.

    A batch makes thousands of small objects that all go when it ends, without any search. At the
    usual thresholds the searches took a sixth of the time of a transfer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
