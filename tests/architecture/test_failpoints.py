"""Every failpoint is driven by a test: one that nobody reaches promises what nobody has seen."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import guilder
from guilder.apps.compose import every_failpoint
from tests.journeys.test_word_gets_round import ON_THE_WAY
from tests.simulation.test_failpoints import MIGRATIONS, PAYMENTS

TESTS = Path(__file__).parents[1]
SWEPT = {*ON_THE_WAY, *PAYMENTS, *MIGRATIONS}
"""What is driven by being listed: sweeps take every point of a kind."""


def names_of_constants() -> dict[tuple[str, str], str]:
    """Which failpoint the constant of a module names, as the tests import it."""
    found = {}
    for info in pkgutil.walk_packages(guilder.__path__, "guilder."):
        source = importlib.util.find_spec(info.name)
        if source is None or source.origin is None:
            continue
        text = Path(source.origin).read_text(encoding="utf-8")
        if "failpoints.declare(" not in text:
            continue
        for name, value in vars(importlib.import_module(info.name)).items():
            if isinstance(value, str) and value in every_failpoint():
                found[info.name, name] = value
    return found


def armed_in(tree: ast.Module, constants: dict[tuple[str, str], str]) -> Iterator[str]:
    """The failpoints that a test's file names: in a text, or by the constant it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition("=")[0]
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name := constants.get((node.module or "", alias.name)):
                    yield name


def undriven(declared: Iterable[str], trees: Iterable[ast.Module]) -> set[str]:
    constants = names_of_constants()
    named = {name for tree in trees for name in armed_in(tree, constants)}
    return {name for name in declared if name not in SWEPT | named}


def test_every_failpoint_is_driven_by_some_test():
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in (TESTS / "integration").rglob("test_*.py")
    ]

    assert undriven(every_failpoint(), trees) == set()


@pytest.mark.parametrize(
    ("source", "is_driven"),
    [
        ("failpoints.arm('bus.parked=hit:1:raise')", True),
        ("from guilder.platform.bus.delivery import PARKED", True),
        ("from guilder.platform.bus.delivery import BEFORE_COMMIT", False),
        ("'it is about bus.parked'", False),
    ],
)
def test_a_failpoint_counts_as_driven_where_a_test_names_it(source: str, is_driven: bool):
    assert (undriven(["bus.parked"], [ast.parse(source)]) == set()) == is_driven
