"""Imports stand at the top, where the map of the house can be read, and facades export nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source


def hidden_imports(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield source.at(node, f"{function.name} imports; imports stand at the top")


def exporting_contexts(source: Source) -> Iterator[Finding]:
    """A context's ``__init__`` is its glossary; what others may use stands in api and events."""
    if source.is_context and source.layer == "__init__":
        for node in source.tree.body[1:]:
            yield source.at(node, "a context's __init__ holds its docstring and nothing else")
