"""Notes in the margin: suppressions say why, nothing is left for later, no machine is named."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source

_SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no\s+\w+|nosec|fmt:\s*off|ruff:)")
_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*"
    r"|type:\s*ignore\[[\w,\s-]+\]"
    r"|pragma:\s*no\s+\w+"
    r"|ruff:\s*noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*"
    r"|fmt:\s*off"
    r")\s*(?:-|#|:)\s*\S+\s+\S+"
)
_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
_MACHINE = re.compile(r"(?<![\w.}/])/(?:home|Users|root|work|tmp)/\w+")


def silent_suppressions(source: Source) -> Iterator[Finding]:
    """A suppression names what it silences and then, after a dash, why."""
    for line, comment in source.comments:
        found = _SUPPRESSION.search(comment)
        if found and not _WITH_REASON.search(comment):
            yield source.at(line, f"{found[1]} does not say why")


def unfinished_work(source: Source) -> Iterator[Finding]:
    for line, comment in source.comments:
        if _UNFINISHED.search(comment):
            yield source.at(line, "unfinished work belongs into an issue")
    for function in source.functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if len(body) == 1 and _says_not_implemented(body[0]):
            yield source.at(function, f"{function.name} is a stub")


def machine_paths(source: Source) -> Iterator[Finding]:
    """Nothing depends on the folders of somebody's machine; tests have ``tmp_path``."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        found = _MACHINE.search(line)
        if found:
            yield source.at(number, f"{found[0]} is a path of one machine")


def _says_not_implemented(statement: ast.stmt) -> bool:
    raised = statement.exc if isinstance(statement, ast.Raise) else None
    return raised is not None and "NotImplementedError" in ast.unparse(raised)
