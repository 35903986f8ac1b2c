"""Events only ever gain: what stands in docs/reference/events.json, somebody may rely on.

To add a type or a field, add it to the class and run ``make reference``. To take one away, publish
a new type beside the old one, and keep the old one until nobody hears it any more.
"""

from __future__ import annotations

from pathlib import Path

from guilder.apps.catalogue import Promise, Published, broken, key_of, promise, read
from guilder.apps.reference import events

PROMISE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "events.json"
BEFORE: Promise = {"a": Published(topic="a-events", fields={"id": "str", "amount": "str"})}


def test_no_event_has_lost_what_was_promised() -> None:
    promised = read(PROMISE.read_text(encoding="utf-8"))

    assert broken(promised, now=promise(events())) == []


def test_every_event_says_what_it_is_keyed_by() -> None:
    assert [kind.__name__ for kind in events() if not key_of(kind)] == []


def test_what_is_added_breaks_nothing() -> None:
    now: Promise = {
        "a": Published(topic="a-events", fields={"id": "str", "amount": "str", "note": "str"}),
        "b": Published(topic="b-events", fields={}),
    }

    assert broken(BEFORE, now=now) == []


def test_what_is_taken_away_or_changed_is_named() -> None:
    now: Promise = {"a": Published(topic="b-events", fields={"id": "int"})}

    assert broken(BEFORE, now={}) == ["a is gone"]
    assert broken(BEFORE, now=now) == [
        "a moved from a-events to b-events",
        "a.id was str and is int",
        "a has lost amount",
    ]
