"""The house style, held: an ordinary test that reads every file of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.tidy import RULES
from tests.architecture.tidy.notes import machine_paths
from tests.architecture.tidy.source import TREES, Rule, Source, read_sources

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"migrations", "benchmarks"}
"""Folders whose files are run by name, by alembic or by hand."""


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return list(read_sources(ROOT))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps_the_rule(rule: Rule, sources: list[Source]) -> None:
    findings = [str(finding) for source in sources for finding in rule(source)]

    assert not findings, "\n".join(["", *findings])


def test_documents_name_no_machine() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("Makefile")]
    texts = [Source(path.relative_to(ROOT), path.read_text("utf-8")) for path in pages]

    findings = [str(finding) for text in texts for finding in machine_paths(text)]

    assert not findings, "\n".join(["", *findings])


def test_every_folder_of_code_is_a_package() -> None:
    """Otherwise import-linter does not see it, and pytest confuses tests of one name."""
    folders = {path.parent for tree in TREES for path in (ROOT / tree).rglob("*.py")}

    loose = [folder for folder in folders if not (folder / "__init__.py").exists()]

    assert not [str(folder) for folder in loose if folder.name not in SCRIPTS]
