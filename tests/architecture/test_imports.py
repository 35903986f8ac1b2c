"""The import contracts hold, and each of them has been seen to fail.

A probe copies the package, adds one import that a contract forbids, and expects exactly that
contract to break.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / ".importlinter"
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
NOT_CONTEXTS = {"kernel", "platform", "apps", "gateway", "backoffice"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An import that somebody might add, and the ids of the contracts it breaks."""

    importer: str
    imported: str | None
    breaks: frozenset[str]

    def __str__(self) -> str:
        return f"{self.importer} -> {self.imported}"


def probe(importer: str, imported: str | None, *breaks: str) -> Probe:
    return Probe(importer=importer, imported=imported, breaks=frozenset(breaks))


PROBES = [
    probe("guilder.ledger.service", "guilder.identity.api", "map"),
    probe("guilder.platform.identifiers", "guilder.customers.events", "map"),
    probe("guilder.treasury", None, "map"),
    probe("guilder.wallets.service", "guilder.ledger.store", "privacy"),
    probe("guilder.payments.store", "guilder.ledger.domain", "privacy"),
    probe("guilder.gateway.module", "guilder.ledger.module", "privacy"),
    probe("guilder.ledger.http", "guilder.ledger.jobs", "layers"),
    probe("guilder.ledger.treasurer", None, "layers"),
    probe("guilder.ledger.http", "guilder.ledger.store", "edges"),
    probe("guilder.ledger.jobs", "guilder.ledger.store", "edges"),
    probe("guilder.ledger.service", "guilder.platform.http.route", "http"),
    probe("guilder.ledger.domain", "guilder.platform.identifiers", "purity"),
    probe("guilder.ledger.domain", "asyncio", "purity"),
    probe("guilder.ledger.events", "random", "purity"),
    probe("guilder.kernel.money", "time", "purity"),
    probe("guilder.ledger.store", "asyncpg", "driver"),
    probe("guilder.apps.cli", "asyncpg", "driver"),
    probe("guilder.kernel.invariant", "guilder.kernel.money", "rings"),
    probe("guilder.ledger.consumers", "guilder.payments.events"),
    probe("guilder.payments.service", "guilder.ledger.api"),
    probe("guilder.apps.compose", "guilder.ledger.module"),
]


def names_by_contract() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(CONTRACTS)
    return {
        section.rpartition(":")[2]: config[section]["name"]
        for section in config.sections()
        if ":contract:" in section
    }


def broken_contracts(source: Path) -> set[str]:
    """The ids of the contracts that the package under ``source`` breaks."""
    lint = subprocess.run(
        [sys.executable, "-c", LINT, "--no-cache", "--no-logo", "--config", str(CONTRACTS)],
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Contracts: " in lint.stdout, lint.stdout + lint.stderr
    return {
        contract
        for contract, name in names_by_contract().items()
        if f"{name} BROKEN" in lint.stdout
    }


def write_import(source: Path, *, importer: str, imported: str | None) -> None:
    """Add the import, making the modules at both ends where they are missing."""
    for module in filter(None, (imported, importer)):
        if module.startswith("guilder."):
            locate(source, module).touch()
    if imported is not None:
        with locate(source, importer).open("a", encoding="utf-8") as file:
            file.write(f"\nimport {imported}\n")


def locate(source: Path, module: str) -> Path:
    """The file of ``module``, whether it is a file or a package; its packages are made."""
    place = source.joinpath(*module.split("."))
    for package in reversed(place.relative_to(source).parents[:-2]):
        (source / package).mkdir(exist_ok=True)
        (source / package / "__init__.py").touch()
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def test_every_import_follows_the_map() -> None:
    assert broken_contracts(ROOT / "src") == set()


@pytest.fixture(scope="module")
def broken_already() -> set[str]:
    """Empty, unless `test_every_import_follows_the_map` fails; then the probes can still speak."""
    return broken_contracts(ROOT / "src")


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_a_forbidden_import_breaks_exactly_its_contract(
    probe: Probe, tmp_path: Path, broken_already: set[str]
) -> None:
    shutil.copytree(ROOT / "src" / "guilder", tmp_path / "guilder")

    write_import(tmp_path, importer=probe.importer, imported=probe.imported)

    assert broken_contracts(tmp_path) == probe.breaks | broken_already


def test_every_contract_has_a_probe() -> None:
    probed = set().union(*(probe.breaks for probe in PROBES))

    assert probed == set(names_by_contract())


def test_every_context_has_its_layers_held() -> None:
    config = configparser.ConfigParser()
    config.read(CONTRACTS)
    held = set(config["importlinter:contract:layers"]["containers"].split())

    contexts = {
        f"guilder.{package.parent.name}"
        for package in (ROOT / "src" / "guilder").glob("*/__init__.py")
        if package.parent.name not in NOT_CONTEXTS
    }

    assert held == contexts
