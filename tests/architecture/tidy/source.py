"""A source file as the rules see it: where it stands in the house, its tree and its comments."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
TREES = ("src", "tests", "benchmarks")
NOT_CONTEXTS = frozenset({"kernel", "platform", "apps", "gateway", "backoffice"})


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that breaks a rule."""

    path: PurePosixPath
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """One Python file. ``path`` is relative to the root of the repository."""

    path: PurePosixPath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        return tuple(ast.walk(self.tree))

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        return tuple(node for node in self.nodes if isinstance(node, FUNCTIONS))

    @cached_property
    def comments(self) -> tuple[tuple[int, str], ...]:
        """Line and text of each comment."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return tuple((t.start[0], t.string) for t in tokens if t.type == tokenize.COMMENT)

    @property
    def package(self) -> str:
        """``ledger`` for a file of src/guilder/ledger; empty outside src/guilder's packages."""
        inside = self.path.parts[:2] == ("src", "guilder") and len(self.path.parts) > 3
        return self.path.parts[2] if inside else ""

    @property
    def layer(self) -> str:
        """``service`` for ledger/service.py and for every file of ledger/service/."""
        return self.path.parts[3].removesuffix(".py") if self.package else ""

    @property
    def is_context(self) -> bool:
        return bool(self.package) and self.package not in NOT_CONTEXTS

    @property
    def is_core(self) -> bool:
        """Whether it must be pure: it decides about money, or everything stands on it."""
        return self.package == "kernel" or (self.is_context and self.layer in {"domain", "events"})

    @property
    def is_promise(self) -> bool:
        """Whether others call it by what its docstrings promise."""
        return self.package == "kernel" or (self.is_context and self.layer in {"api", "service"})

    @property
    def is_test(self) -> bool:
        return self.path.name.startswith("test_")

    def at(self, place: ast.AST | int, message: str) -> Finding:
        line = place if isinstance(place, int) else getattr(place, "lineno", 1)
        return Finding(self.path, line, message)


Rule: TypeAlias = Callable[[Source], Iterator[Finding]]


def read_sources(root: Path) -> Iterator[Source]:
    """Every Python file of the project."""
    for tree in TREES:
        for path in sorted((root / tree).rglob("*.py")):
            place = PurePosixPath(path.relative_to(root).as_posix())
            yield Source(place, path.read_text(encoding="utf-8"))


def public_functions(source: Source) -> Iterator[tuple[Function, bool]]:
    """Functions and methods that others may call, and whether each is a method.

    Names with a leading underscore, and what stands inside them, are private; so is what is
    defined inside a function.
    """
    for node in source.tree.body:
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield node, False
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, FUNCTIONS) and not member.name.startswith("_"):
                    yield member, True


def dotted(node: ast.AST) -> str:
    """``a.b.c`` for the expression that says so; for a call in the middle, what is known."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return ""


def names_imported(node: ast.AST) -> tuple[str, ...]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "",)
    return ()
