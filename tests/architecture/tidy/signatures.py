"""Signatures: nobody can pass two arguments in the wrong order without the type checker noticing.

One parameter may be positional, or two of different types; the rest are named by the caller. The
open transaction that a use case is given comes first and is not counted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Function, Source, public_functions


def positional_parameters(source: Source) -> Iterator[Finding]:
    if not source.is_promise:
        return
    for function, is_method in public_functions(source):
        counted = _positional(function, is_method=is_method)
        types = {ast.unparse(arg.annotation) for arg in counted if arg.annotation}
        if len(counted) > 2 or len(types) < len(counted):
            yield source.at(function, f"{function.name} takes arguments that can be swapped")


def _positional(function: Function, *, is_method: bool) -> list[ast.arg]:
    found = [*function.args.posonlyargs, *function.args.args]
    if is_method and not _is_static(function):
        found = found[1:]
    return [arg for arg in found if arg.arg != "tx"]


def _is_static(function: Function) -> bool:
    return any(getattr(mark, "id", "") == "staticmethod" for mark in function.decorator_list)
