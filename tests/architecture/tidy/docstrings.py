"""Docstrings: every module says what it holds; kernel, api and service say what they promise."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tidy.source import (
    FUNCTIONS,
    Finding,
    Function,
    Source,
    dotted,
    public_functions,
)

_BUGS = frozenset({"AssertionError", "InvariantViolation", "NotImplementedError"})


def missing_module_docstrings(source: Source) -> Iterator[Finding]:
    """An empty ``__init__`` needs none, except where a package of src begins."""
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield source.at(1, "the module does not say what it holds")
    if not source.text.strip() and source.path.parts[0] == "src":
        yield source.at(1, "the package does not say what it holds")


def missing_public_docstrings(source: Source) -> Iterator[Finding]:
    if not source.is_promise:
        return
    for node in source.tree.body:
        is_public = isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        if is_public and not ast.get_docstring(node):
            yield source.at(node, f"{node.name} makes no promise")
    said_by_class = _methods_said_by_their_class(source)
    for function, _ in public_functions(source):
        if not ast.get_docstring(function) and function not in said_by_class:
            yield source.at(function, f"{function.name} makes no promise")


def unlisted_refusals(source: Source) -> Iterator[Finding]:
    """What a public function raises by itself stands under ``Raises:``; bugs need no mention."""
    if not source.is_promise:
        return
    for function, _ in public_functions(source):
        promise = ast.get_docstring(function) or ""
        for name in sorted(_raised_names(function)):
            if name not in promise.partition("Raises:")[2]:
                yield source.at(function, f"{function.name} does not list {name} under Raises")


def _methods_said_by_their_class(source: Source) -> set[Function]:
    """A class or port with a single method is described in one place."""
    single: set[Function] = set()
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and ast.get_docstring(node):
            methods = [member for member in node.body if isinstance(member, FUNCTIONS)]
            public = [method for method in methods if not method.name.startswith("_")]
            single.update(public if len(public) == 1 else ())
    return single


def _raised_names(function: Function) -> set[str]:
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = dotted(raised).rpartition(".")[2]
            if name[:1].isupper() and name not in _BUGS:
                names.add(name)
    return names
