"""The core is pure: no clock, no float, nothing but arithmetic on what it is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source, dotted, names_imported

_PURE_LIBRARY = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "uuid",
        "zoneinfo",
    }
)
# Each is text or values in, a verdict out; none of them looks anywhere when it is called so.
_PURE_PACKAGES = frozenset({"msgspec", "email_validator", "phonenumbers", "zxcvbn"})
_CLOCKS = frozenset({"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter"})
_CLOCK_OWNERS = frozenset({"datetime", "date", "time", "clock", "_clock"})
_IMPURE_CALLS = frozenset({"open", "print", "input", "eval", "exec", "uuid1", "uuid4"})


def clocks_in_the_core(source: Source) -> Iterator[Finding]:
    """Time and identifiers are passed in; nothing is read or written."""
    if not source.is_core:
        return
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        owner, _, name = dotted(node.func).rpartition(".")
        is_clock = name in _CLOCKS and owner.rpartition(".")[2] in _CLOCK_OWNERS
        if is_clock or name in _IMPURE_CALLS:
            yield source.at(node, f"the core calls {dotted(node.func)}; pass its result in")


def floats_in_the_core(source: Source) -> Iterator[Finding]:
    """Amounts are integers; a rate is a Decimal or a Fraction, and then it may be divided."""
    if not source.is_core:
        return
    imported = {name for node in source.nodes for name in names_imported(node)}
    divides_exactly = bool(imported & {"decimal", "fractions"})
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield source.at(node, f"{node.value} is a binary float")
        if isinstance(node, ast.Name) and node.id == "float":
            yield source.at(node, "the core knows no float")
        is_division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if is_division and not divides_exactly:
            yield source.at(node, "/ makes a float of two integers; use // or divmod")


def foreign_imports_in_the_core(source: Source) -> Iterator[Finding]:
    """The kernel takes pure modules of the standard library; a domain also a few packages."""
    if not source.is_core:
        return
    packages = frozenset() if source.package == "kernel" else _PURE_PACKAGES
    for node in source.nodes:
        for name in names_imported(node):
            root = name.partition(".")[0]
            if root not in _PURE_LIBRARY | packages | {"guilder"}:
                yield source.at(node, f"the core imports {name}")
