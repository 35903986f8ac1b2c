"""Documents lead somewhere: links resolve, and a decision names the check that holds it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = sorted(ROOT.glob("docs/decisions/[0-9]*.md"))
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
PLACE = re.compile(r"`((?:src|tests|docs|benchmarks)/[\w./-]*\w)/?`")
PARTS = ["Context", "Decision", "Consequences", "Check"]


def by_place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=by_place)
def test_every_link_and_every_named_file_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    links = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    places = [place for place in PLACE.findall(text) if not (ROOT / place).exists()]

    assert not links + places


@pytest.mark.parametrize("record", DECISIONS, ids=by_place)
def test_a_decision_has_its_four_parts_and_one_page(record: Path) -> None:
    text = record.read_text(encoding="utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == PARTS
    assert text.count("\n") <= 60


def test_every_decision_stands_in_the_index() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")

    assert not [record.name for record in DECISIONS if f"({record.name})" not in index]
