"""Where a change comes from: who asked for it, in which request. Events carry it, audit keeps it.

The dispatcher sets it for the length of a request and it follows the request through its tasks.
Whoever gathers the work of many requests (a batch) passes each one's origin on by hand.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from msgspec import Struct

from guilder.kernel.ids import UserId


class Origin(Struct, frozen=True, gc=False):
    """Who and in which request; all None for what Guilder does by itself."""

    actor_id: UserId | None = None
    request_id: str | None = None
    trace_id: str | None = None
    """The W3C trace id that the request came with."""


NOWHERE: Final = Origin()
_current: ContextVar[Origin] = ContextVar("guilder_origin", default=NOWHERE)


def current() -> Origin:
    """The origin of what is being done just now."""
    return _current.get()


def begin(origin: Origin, /) -> None:
    """Say where everything comes from that this task does from now on."""
    _current.set(origin)
