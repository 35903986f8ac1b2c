"""The database: one module commits, services decide what is one commit, stores hold the SQL."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.architecture.tidy.source import Finding, Source, dotted

_CONTROL = re.compile(
    r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|START\s+TRANSACTION|END)\s*(;|$|TRANSACTION|WORK|ISOLATION)",
    re.IGNORECASE,
)
_NOTIFY = re.compile(r"\bpg_notify\s*\(|^\s*NOTIFY\s", re.IGNORECASE)
_COMMITTING = frozenset({"transaction", "commit", "rollback", "begin", "begin_nested"})
_COMMITS = ("src/guilder/platform/db.py", "src/guilder/platform/postgres/")
_NOTIFIES = ("src/guilder/platform/db_notifying.py",)
_STATEMENT = re.compile(
    r"\s*(SELECT\s[^;]*\sFROM\s|INSERT INTO\s|UPDATE\s|DELETE FROM\s|WITH\s\w+\s(\(|AS\s))"
)
_UP_TO_A_MOVING_TIME = re.compile(
    r"(<=?|\bBETWEEN\s\S+\sAND)\s*\(*\s*clock_timestamp\(\)"
    r"|clock_timestamp\(\)(\s*-\s*[\w$:*]+)*\s*>=?\s",
    re.IGNORECASE,
)
_DATABASE = re.compile(r"(^|\.)_?(db|database)$")


def commits_in_one_place(source: Source) -> Iterator[Finding]:
    """``platform/db.py`` for everybody, ``platform/postgres`` to prepare a server and its schemas.

    What takes an argument by position is another kind of transaction: a ledger's. Tests and
    benchmarks are free: races and measurements hold transactions open by hand.
    """
    if source.path.parts[0] != "src" or str(source.path).startswith(_COMMITS):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = _CONTROL.match(node.value)
            if found:
                yield source.at(node, f"{found[1]} is said by platform/db.py alone")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = dotted(node.func.value)
            is_control = node.func.attr in _COMMITTING and not node.args
            if is_control and not _DATABASE.search(owner):
                yield source.at(node, f".{node.func.attr}() is called by platform/db.py alone")


def notifies_in_one_place(source: Source) -> Iterator[Finding]:
    """``platform/db_notifying.py`` after the commit: those that notify commit one at a time."""
    if source.path.parts[0] != "src" or str(source.path).startswith(_NOTIFIES):
        return
    for node in source.nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and _NOTIFY.search(text):
            yield source.at(node, "use notify_after_commit of platform/db.py")


def old_rows_by_their_index(source: Source) -> Iterator[Finding]:
    """What is over or due is found by an index up to a time, and not up to one that moves on.

    Compared with ``clock_timestamp()``, a table is read whole, however few of its rows are old.
    Whether a row that was found by its key still lives (``>``) is another matter: waiting for its
    lock counts.
    """
    if source.path.parts[0] != "src":
        return
    for node in source.nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and _UP_TO_A_MOVING_TIME.search(text):
            yield source.at(node, "look for what is old up to statement_timestamp()")


def transactions_opened_by_services(source: Source) -> Iterator[Finding]:
    """In a context, ``db.run`` and ``db.transaction`` stand in the service and nowhere else."""
    if not source.is_context or source.layer == "service":
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = dotted(node.func.value)
            if node.func.attr in {"run", "transaction"} and _DATABASE.search(owner):
                yield source.at(node, "only a service opens a transaction")


def sql_in_stores(source: Source) -> Iterator[Finding]:
    """Whoever looks for what a table is used for reads one layer; the platform has its own.

    ``SELECT 1`` names no table and may be asked anywhere.
    """
    if source.package in {"", "platform"} or source.layer in {"store", "migrations"}:
        return
    for node in source.nodes:
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and _STATEMENT.match(text):
            yield source.at(node, "SQL stands in the store")
