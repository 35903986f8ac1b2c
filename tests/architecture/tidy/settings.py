"""Settings: the environment is read in one place, once, and handed on by constructors."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source, dotted

_READS = frozenset({"os.environ", "os.getenv", "os.environb", "environ"})
_READERS = (
    "src/guilder/platform/child_environment.py",
    "src/guilder/platform/settings.py",
    "src/guilder/platform/postgres/",
    "src/guilder/apps/",
)


def environment_reads(source: Source) -> Iterator[Finding]:
    """Applications pass an environment on to the processes they start, and so does PostgreSQL."""
    if source.path.parts[0] != "src" or str(source.path).startswith(_READERS):
        return
    for node in source.nodes:
        if isinstance(node, ast.Attribute) and dotted(node) in _READS:
            yield source.at(node, f"{dotted(node)} is read by platform/settings.py alone")
