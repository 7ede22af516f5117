"""Runs of seconds, without the rest of the lane."""

from pathlib import Path

import pytest
from small_runs import Runs, write_shards

from laneb.records.runs import RunResult
from laneb.training.spec import RunSpec


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A folder for runs, and shards."""
    return Runs(tmp_path / "runs", write_shards(tmp_path / "shards"))


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, RunSpec, RunResult]:
    """A run that nothing disturbed, with where it lies."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    made = Runs(folder / "runs", write_shards(folder / "shards"))
    spec = made.spec()
    return made, spec, made.train(spec)
