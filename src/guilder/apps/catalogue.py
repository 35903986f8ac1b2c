"""The catalogue of events: for people as a page, for machines as what may never be taken away.

``events.json`` is the promise to whoever listens: types and fields that stand in it stay. Code may
add to it; making the pages refuses to write one that lacks something.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from guilder.apps.compose import build_house
from guilder.platform.db import Database
from guilder.platform.kafka.cloud_events import topic_of
from guilder.platform.settings import Settings


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """Where a type of event is found, and its fields with their types."""

    topic: str
    fields: Mapping[str, str]


Promise = dict[str, Published]
"""By type."""

_KEYED: Final = re.compile(r"keyed by ([^.:]+)[.:]")


def fields(kind: type) -> Iterator[tuple[str, str]]:
    """Name and type of each field of an event."""
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            yield field.name, str(field.type)
    else:
        for name, annotation in inspect.get_annotations(kind).items():
            if name != "TYPE":
                yield name, annotation if isinstance(annotation, str) else annotation.__name__


def key_of(kind: type) -> str:
    """What events of this kind are keyed by, as their module says; empty when it does not."""
    said = " ".join((inspect.getdoc(sys.modules[kind.__module__]) or "").split())
    found = _KEYED.search(said)
    return found[1] if found else ""


def hearers() -> dict[str, frozenset[str] | None]:
    """The types that each group of this Guilder hears; None: all."""
    return asyncio.run(_hearers())


async def _hearers() -> dict[str, frozenset[str] | None]:
    # a pool belongs to an event loop, so the house is built in one though it asks nothing
    house = build_house(Settings(), db=Database.unconnected())
    return {heard.group: heard.types for module in house.modules for heard in module.subscriptions}


def heard_by(kind: type, groups: Mapping[str, frozenset[str] | None]) -> list[str]:
    """The groups that hear events of this kind."""
    type_ = vars(kind)["TYPE"]
    return sorted(group for group, types in groups.items() if types is None or type_ in types)


def promise(kinds: Sequence[type]) -> Promise:
    """What the code publishes now."""
    return {
        vars(kind)["TYPE"]: Published(topic=topic_of(vars(kind)["TYPE"]), fields=dict(fields(kind)))
        for kind in kinds
    }


def written(made: Promise) -> str:
    """A promise as it is stored."""
    return msgspec.json.format(msgspec.json.encode(made)).decode() + "\n"


def broken(before: Promise, *, now: Promise) -> list[str]:
    """What somebody may rely on and would no longer find, a line each."""
    lines = []
    for type_, said in before.items():
        if type_ not in now:
            lines.append(f"{type_} is gone")
            continue
        found = now[type_]
        if said.topic != found.topic:
            lines.append(f"{type_} moved from {said.topic} to {found.topic}")
        kept = found.fields
        for name, kind in said.fields.items():
            if name not in kept:
                lines.append(f"{type_} has lost {name}")
            elif kept[name] != kind:
                lines.append(f"{type_}.{name} was {kind} and is {kept[name]}")
    return lines


def read(text: str) -> Promise:
    """What `written` made."""
    return msgspec.json.decode(text, type=Promise)
