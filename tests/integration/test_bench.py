"""``guilder bench`` measures every figure; how large one is, no test asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guilder.apps.bench.run import FIGURES
from tests.support.guilder import environment, guilder


def results_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (folder / "bench-results").glob("*.json")]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """The folder, the status and the errors of a run as short as this machine can do."""
    for seconds in (0.3, 3, 30):
        folder = tmp_path_factory.mktemp("bench")
        done = guilder(
            *("bench", "--own-client", f"--seconds={seconds}", "--scale=1", "--people=10"),
            *("--growth=500", "--workers=1", "--profile", f"--folder={folder}"),
            env=environment(folder / "data"),
            folder=folder,
        )
        if not any(told["skipped"] for told in results_in(folder)):
            break
    return folder, done.returncode, done.stderr


def test_each_figure_is_measured_in_a_moment(ended: tuple[Path, int, str]):
    folder, status, errors = ended
    (told,) = results_in(folder)

    assert status == 0, errors
    assert told["skipped"] == []
    assert [figure["name"] for figure in told["figures"]] == list(FIGURES)
    assert all(figure["value"] > 0 for figure in told["figures"])
    assert any("ledger" in statement["text"] for statement in told["profile"])


def test_a_run_leaves_its_results_and_nothing_else(ended: tuple[Path, int, str]):
    folder, _, _ = ended

    assert [path.name for path in folder.iterdir()] == ["bench-results"]


def test_an_unknown_figure_is_told_in_a_line(tmp_path: Path):
    done = guilder("bench", "--only=speed", env=environment(tmp_path), folder=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("guilder: there is no figure speed; there are pgbench, engine")
