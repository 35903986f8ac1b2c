"""The locks: complete, pinned by hash, and silent about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]]
LOCKS = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": [*RUNTIME, *PROJECT["dependency-groups"]["dev"]],
}


def locked(name: str) -> dict[str, set[str]]:
    """Versions by package; a package may have one for each version of Python."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE
    ):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_locked_at_a_version_it_allows(name: str):
    versions = locked(name)

    wanted = [Requirement(text) for text in LOCKS[name]]
    missing = [
        str(requirement)
        for requirement in wanted
        if not any(
            map(requirement.specifier.contains, versions[canonicalize_name(requirement.name)])
        )
    ]

    assert not missing, "run `make lock`"


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_by_hash_and_none_by_address(name: str):
    text = (ROOT / name).read_text()
    entries = re.findall(r"^[\w.-]+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)

    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"://|--(extra-)?index|--find-links|^-e|^-f|^-i", text, re.MULTILINE)


def test_what_is_tested_is_what_is_run():
    runtime, everything = locked("requirements.lock"), locked("requirements-dev.lock")

    assert {name: everything[name] for name in runtime} == runtime
