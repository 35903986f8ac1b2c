"""Names: the word a banker would use, never a drawer for everything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source

_VAGUE_MODULE = re.compile(r"(^|_)(utils?|helpers?|common|misc|managers?|stuff|tools?)($|_)")
_VAGUE_CLASS = re.compile(r"(Manager|Helpers?|Utils?|Processor|Misc)$")
_VAGUE_FUNCTION = re.compile(r"_*(do|handle|process)_")
_PLACEHOLDER = re.compile(r"(user|person|customer)_?[12]|foo|bar|baz|foobar", re.IGNORECASE)


def vague_modules(source: Source) -> Iterator[Finding]:
    for part in source.path.parts:
        name = part.removesuffix(".py")
        if _VAGUE_MODULE.search(name):
            yield source.at(1, f"{name} says nothing about what it holds")
    for node in source.nodes:
        if isinstance(node, ast.ClassDef) and _VAGUE_CLASS.search(node.name):
            yield source.at(node, f"{node.name} says nothing about what it is")


def vague_functions(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        if _VAGUE_FUNCTION.match(function.name):
            yield source.at(function, f"{function.name} hides its verb")


def placeholder_people(source: Source) -> Iterator[Finding]:
    """The people of tests and examples have names: Anna and Ben."""
    for node in source.nodes:
        name = node.id if isinstance(node, ast.Name) else getattr(node, "arg", None)
        if isinstance(name, str) and _PLACEHOLDER.fullmatch(name):
            yield source.at(node, f"{name} is nobody; call people Anna and Ben")
