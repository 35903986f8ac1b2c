"""The generated reference says what the classes say, and no refusal or event is left unsaid."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from guilder.apps.reference import PAGES, events, refusals
from guilder.kernel.errors import Family
from guilder.platform.http.status import STATUS_OF_FAMILY, status_of

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
EVENT_TYPE = re.compile(r"com\.guilder\.[a-z_]+(\.[a-z_]+)*\.[a-z_]+")


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_fresh_as_the_code(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")

    assert written == PAGES[name](), "run `make reference`"


def test_every_refusal_has_a_code_and_a_message() -> None:
    bare = [kind.__name__ for kind in refusals() if not (kind.code.isupper() and kind.message)]

    assert not bare


def test_every_refusal_says_when_it_is_given() -> None:
    silent = [kind.__name__ for kind in refusals() if not vars(kind).get("__doc__")]

    assert not silent


def test_a_code_belongs_to_one_family_and_status() -> None:
    meanings = defaultdict(set)
    for kind in refusals():
        meanings[kind.code].add((kind.family, status_of(kind)))

    assert not {code: found for code, found in meanings.items() if len(found) > 1}


def test_every_family_has_a_status() -> None:
    assert set(STATUS_OF_FAMILY) == set(Family)


def test_refusals_are_named_after_facts() -> None:
    names = [kind.__name__ for kind in refusals()]

    assert not [name for name in names if name.endswith(("Error", "Exception", "Refusal"))]
    assert len(names) == len(set(names)), "two refusals share a name"


def test_every_event_has_a_type_of_its_own_and_says_what_happened() -> None:
    types = [vars(kind)["TYPE"] for kind in events()]

    assert len(types) == len(set(types))
    assert not [name for name in types if not EVENT_TYPE.fullmatch(name)]
    assert not [kind.__name__ for kind in events() if not vars(kind).get("__doc__")]
