"""Every dependency is locked, and was taken for a reason that is written down."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REASONS = ROOT / "docs" / "decisions" / "0004-why-these-dependencies.md"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def names(requirements: list[str]) -> set[str]:
    found = (NAME.match(requirement) for requirement in requirements)
    return {match[0].lower().replace("_", "-") for match in found if match}


def project() -> dict[str, list[str]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def locked(lock: str) -> set[str]:
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    return names([line for line in lines if "==" in line])


def test_every_dependency_is_locked_to_run_and_to_test() -> None:
    wanted = names(project()["dependencies"])

    assert not wanted - locked("requirements.lock")
    assert not wanted - locked("requirements-dev.lock")


def test_every_locked_package_has_hashes() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE | re.IGNORECASE)[1:]

    assert packages
    assert not [package for package in packages if "--hash=sha256:" not in package]


def test_every_dependency_has_its_reason() -> None:
    reasons = REASONS.read_text(encoding="utf-8").lower()

    assert not [name for name in names(project()["dependencies"]) if f"`{name}`" not in reasons]
