"""Lengths: a function is one thought on one screen, a file one subject. ruff holds the lines."""

from __future__ import annotations

from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source

LONGEST_FUNCTION = 70
LONGEST_FILE = 500


def long_functions(source: Source) -> Iterator[Finding]:
    for function in source.functions:
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > LONGEST_FUNCTION:
            yield source.at(function, f"{function.name} has {length} of {LONGEST_FUNCTION} lines")


def long_files(source: Source) -> Iterator[Finding]:
    length = source.text.count("\n")
    if length > LONGEST_FILE:
        yield source.at(1, f"the file has {length} of {LONGEST_FILE} lines")
