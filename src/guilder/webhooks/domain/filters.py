"""Which events an endpoint wants: exact types, prefixes such as ``transaction.*``, or ``*``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from guilder.webhooks.api import UnknownEvents
from guilder.webhooks.domain.catalogue import PREFIX, PUBLIC

EVERYTHING: Final = "*"
_ALL_BELOW: Final = ".*"


def known() -> list[str]:
    """The public events as filters name them, without ``com.guilder.``."""
    return sorted(name.removeprefix(PREFIX) for name in PUBLIC)


def normalised(filters: Iterable[str]) -> tuple[str, ...] | UnknownEvents:
    """Filters without ``com.guilder.`` and doubles; or the refusal of those that fit nothing."""
    found = tuple(dict.fromkeys(text.removeprefix(PREFIX) for text in filters))
    unfit = [text for text in found if not any(_fits(text, name) for name in known())]
    if unfit:
        return UnknownEvents(None, fields={"events": "fits no event"}, known=known())
    return found


def wanted(filters: Sequence[str], type_: str) -> bool:
    """Whether an endpoint with these (normalised) filters wants an event of ``type_``."""
    name = type_.removeprefix(PREFIX)
    return any(_fits(text, name) for text in filters)


def _fits(text: str, name: str) -> bool:
    if text.endswith(_ALL_BELOW):
        return name.startswith(text.removesuffix("*"))
    return text in {EVERYTHING, name}
