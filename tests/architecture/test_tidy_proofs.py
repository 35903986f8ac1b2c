"""Each tidy rule has been seen to fail: a snippet that breaks it is found, a similar one is not."""

from __future__ import annotations

from pathlib import PurePosixPath
from textwrap import dedent
from typing import NamedTuple

import pytest

from tests.architecture.tidy import (
    RULES,
    database,
    docstrings,
    imports,
    lengths,
    names,
    notes,
    purity,
    settings,
    signatures,
    testing,
)
from tests.architecture.tidy.source import Rule, Source

API = "src/guilder/ledger/api.py"
DOMAIN = "src/guilder/ledger/domain/book.py"
SERVICE = "src/guilder/ledger/service.py"
STORE = "src/guilder/ledger/store.py"
TEST = "tests/unit/test_book.py"
SUPPORT = "tests/support/servers.py"


class Proof(NamedTuple):
    """A snippet in a place of the house, and a similar one that is clean."""

    rule: Rule
    path: str
    broken: str
    clean: str
    clean_path: str | None = None


def lines(count: int) -> str:
    return "\n".join(["def f():", *["    x = 1"] * (count - 1), ""])


PROOFS = [
    Proof(database.commits_in_one_place, STORE, 'tx.execute("COMMIT")', 'tx.execute("SELECT 1")'),
    Proof(database.commits_in_one_place, STORE, 'run(" begin; SELECT 1")', 'x = "beginning"'),
    Proof(database.commits_in_one_place, SERVICE, "tx.transaction()", "self._db.transaction()"),
    Proof(database.notifies_in_one_place, STORE, 'x = "SELECT pg_notify($1)"', 'x = "notify"'),
    Proof(
        database.old_rows_by_their_index, STORE, 'x = "a < clock_timestamp()"', 'x = "a < now()"'
    ),
    Proof(database.commits_in_one_place, STORE, "c.rollback()", "c.rollback()", TEST),
    Proof(database.commits_in_one_place, STORE, "tx.transaction()", "views.transaction(tx, id_)"),
    Proof(database.sql_in_stores, SERVICE, 'x = "SELECT a FROM b"', 'x = "SELECT 1"'),
    Proof(database.sql_in_stores, API, 'x = "DELETE FROM b"', 'x = "DELETE FROM b"', STORE),
    Proof(database.sql_in_stores, API, 'x = "\\nWITH a AS (SELECT 1)"', 'x = "With this as that"'),
    Proof(database.transactions_opened_by_services, STORE, "db.run(x)", "db.fetch(x)"),
    Proof(database.transactions_opened_by_services, STORE, "self._db.run(x)", "loop.run(x)"),
    Proof(database.transactions_opened_by_services, API, "db.run(x)", "db.run(x)", SERVICE),
    Proof(docstrings.missing_module_docstrings, STORE, "x = 1", '"""Rows."""\nx = 1'),
    Proof(docstrings.missing_module_docstrings, "src/guilder/fx/__init__.py", "", '"""Rates."""'),
    Proof(docstrings.missing_public_docstrings, API, "def f(): ...", "def _f(): ..."),
    Proof(docstrings.missing_public_docstrings, API, "class A: ...", "class A: ...", STORE),
    Proof(
        docstrings.missing_public_docstrings,
        SERVICE,
        'class A:\n    """A."""\n    def f(self): ...\n    def g(self): ...',
        'class A:\n    """A, by f."""\n    def f(self): ...\n    def _g(self): ...',
    ),
    Proof(
        docstrings.unlisted_refusals,
        SERVICE,
        'def f():\n    """F."""\n    raise NotFound',
        'def f():\n    """F.\n\n    Raises:\n        NotFound: no.\n    """\n    raise NotFound()',
    ),
    Proof(imports.exporting_contexts, "src/guilder/fx/__init__.py", '"""Fx."""\nx = 1', '"""."""'),
    Proof(imports.hidden_imports, STORE, "def f():\n    import re", "import re\ndef f(): ..."),
    Proof(lengths.long_files, STORE, "x = 1\n" * 501, "x = 1\n" * 500),
    Proof(lengths.long_functions, STORE, lines(71), lines(70)),
    Proof(names.placeholder_people, TEST, "user1 = open_wallet()", "anna = open_wallet()"),
    Proof(names.placeholder_people, TEST, "def f(foo): ...", "def f(food): ..."),
    Proof(names.vague_functions, STORE, "def handle_transfer(): ...", "def handles(): ..."),
    Proof(names.vague_functions, STORE, "async def _process_it(): ...", "def processed_at(): ..."),
    Proof(names.vague_modules, "src/guilder/fx/rate_utils.py", "", "", "src/guilder/fx/rates.py"),
    Proof(names.vague_modules, "tests/helpers/a.py", "", "", "tests/support/a.py"),
    Proof(names.vague_modules, STORE, "class LockManager: ...", "class Locks: ..."),
    Proof(notes.machine_paths, STORE, f'x = "/{"home"}/anna"', 'x = "https://e.org/home/anna"'),
    Proof(notes.machine_paths, TEST, f'x = "/{"tmp"}/anna"', 'x = tmp_path / "anna"'),
    Proof(
        notes.silent_suppressions, STORE, "x = 1  # noqa: S311", "x = 1  # noqa: S311 - no secret"
    ),
    Proof(notes.silent_suppressions, STORE, "x = 1  # noqa", 'x = "# noqa"'),
    Proof(
        notes.silent_suppressions,
        STORE,
        "x = 1  # type: ignore[misc]",
        "x = 1  # type: ignore[misc]  # the stubs lack it",
    ),
    Proof(notes.silent_suppressions, STORE, "x  # pragma: no cover", "x  # pragma: no cover - a b"),
    Proof(notes.unfinished_work, STORE, "x = 1  # TODO: more", 'x = "TODO"'),
    Proof(
        notes.unfinished_work,
        STORE,
        'def f(x):\n    """F."""\n    raise NotImplementedError',
        "def f(x):\n    if x:\n        x = 1\n        return x\n    raise NotImplementedError(x)",
    ),
    Proof(purity.clocks_in_the_core, DOMAIN, "datetime.now(UTC)", "datetime(1970, 1, 1)"),
    Proof(purity.clocks_in_the_core, DOMAIN, "self.clock.now()", "self.clock.now()", SERVICE),
    Proof(purity.clocks_in_the_core, DOMAIN, "uuid4()", "uuid5(space, name)"),
    Proof(purity.floats_in_the_core, DOMAIN, "x = 0.5", "x = 5"),
    Proof(purity.floats_in_the_core, DOMAIN, "x: float", "x: int"),
    Proof(purity.floats_in_the_core, DOMAIN, "x = a / b", "x = a // b"),
    Proof(
        purity.floats_in_the_core,
        "src/guilder/fx/domain.py",
        "x = a / b",
        "from decimal import Decimal\nx = a / b",
    ),
    Proof(purity.floats_in_the_core, "src/guilder/kernel/money.py", "x = 1.0", "x = 1.0", STORE),
    Proof(purity.foreign_imports_in_the_core, DOMAIN, "import numpy", "import hashlib"),
    Proof(
        purity.foreign_imports_in_the_core,
        "src/guilder/kernel/money.py",
        "import msgspec",
        "import msgspec",
        DOMAIN,
    ),
    Proof(settings.environment_reads, STORE, 'os.environ["A"]', 'settings.environ["A"]'),
    Proof(settings.environment_reads, SERVICE, "os.getenv(x)", "os.getenv(x)", SUPPORT),
    Proof(
        signatures.positional_parameters,
        API,
        "def move(tx: Tx, source: Id, target: Id): ...",
        "def move(tx: Tx, source: Id, *, target: Id): ...",
    ),
    Proof(
        signatures.positional_parameters,
        SERVICE,
        "class A:\n    def f(self, a: int, b: str, c: bytes): ...",
        "class A:\n    def f(self, a: int, b: str, *, c: bytes): ...",
    ),
    Proof(testing.empty_tests, TEST, "def test_a():\n    f()", "def test_a():\n    assert f()"),
    Proof(testing.empty_tests, TEST, "def test_a():\n    f()", "def test_a():\n    expect_x(f())"),
    Proof(
        testing.empty_tests,
        TEST,
        "async def test_a():\n    await check()",
        "def test_a():\n    with pytest.raises(Closed):\n        f()",
    ),
    Proof(testing.patching, TEST, "from unittest import mock", "import unittest"),
    Proof(testing.patching, TEST, "from unittest.mock import Mock", "from support import Mocha"),
    Proof(testing.patching, TEST, "monkeypatch.setattr(a, b)", "monkeypatch.setenv(a, b)"),
    Proof(testing.patching, SUPPORT, "def f(mocker): ...", "def f(monkey): ..."),
    Proof(
        testing.short_test_names, TEST, "def test_transfer(): ...", "def test_it_is_moved(): ..."
    ),
    Proof(testing.sleeping_tests, TEST, "time.sleep(1)", "await asyncio.sleep(0)"),
    Proof(testing.sleeping_tests, TEST, "await asyncio.sleep(0.1)", "sleep(0.1)", SUPPORT),
]


def findings(rule: Rule, *, path: str, text: str) -> list[str]:
    return [str(finding) for finding in rule(Source(PurePosixPath(path), dedent(text)))]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.rule.__name__)
def test_the_rule_reports_what_breaks_it(proof: Proof) -> None:
    assert findings(proof.rule, path=proof.path, text=proof.broken)


@pytest.mark.parametrize("proof", PROOFS, ids=lambda proof: proof.rule.__name__)
def test_the_rule_leaves_a_similar_place_alone(proof: Proof) -> None:
    assert not findings(proof.rule, path=proof.clean_path or proof.path, text=proof.clean)


def test_every_rule_has_a_proof() -> None:
    assert {proof.rule for proof in PROOFS} == set(RULES)
