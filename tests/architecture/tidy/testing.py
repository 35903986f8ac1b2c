"""Tests: they assert what their name says, with fakes and real servers, and never wait blindly."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Function, Source, dotted, names_imported

_ASSERTING = re.compile(r"_?(assert|expect)_")
# schemathesis's own assertions
_ASSERTING_CALLS = frozenset({"raises", "call_and_validate", "validate_response"})
_PATCHERS = frozenset({"unittest.mock", "mock", "pytest_mock"})
_PATCHES = frozenset(f"monkeypatch.{verb}" for verb in ("setattr", "delattr", "setitem", "delitem"))


def empty_tests(source: Source) -> Iterator[Finding]:
    for test in _tests(source):
        if not any(_asserts(node) for node in ast.walk(test)):
            yield source.at(test, f"{test.name} asserts nothing")


def patching(source: Source) -> Iterator[Finding]:
    """Patching shows that something was not passed in. Environment variables may be set."""
    for node in source.nodes:
        names = names_imported(node)
        if isinstance(node, ast.ImportFrom):
            names += tuple(f"{node.module}.{alias.name}" for alias in node.names)
        if _PATCHERS & set(names):
            yield source.at(node, "no mocks: pass in what the code needs")
        if dotted(node) in _PATCHES:
            yield source.at(node, "no patching: pass in what the code needs")
        if isinstance(node, ast.arg) and node.arg == "mocker":
            yield source.at(node, "no mocks: pass in what the code needs")


def short_test_names(source: Source) -> Iterator[Finding]:
    """A test's name completes a sentence, so it has a subject and a verb."""
    for test in _tests(source):
        if len(test.name.removeprefix("test_").split("_")) < 3:
            yield source.at(test, f"{test.name} is not a sentence")


def sleeping_tests(source: Source) -> Iterator[Finding]:
    """A test that sleeps hopes; it waits for a condition instead. ``sleep(0)`` only yields."""
    if not source.is_test:
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] == "sleep":
            length = node.args[0] if node.args else None
            if not (isinstance(length, ast.Constant) and length.value == 0):
                yield source.at(node, "a test sleeps; wait for a condition")


def _tests(source: Source) -> Iterator[Function]:
    if source.is_test:
        for function in source.functions:
            if function.name.startswith("test_"):
                yield function


def _asserts(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, ast.Call):
        name = dotted(node.func).rpartition(".")[2]
        return bool(_ASSERTING.match(name)) or name in _ASSERTING_CALLS
    return False
