"""Real servers and daemons, started for the tests in folders of their own, and ended with them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_servers import moto, new_bucket, seaweedfs
from small_runs import Runs, write_shards
from undisturbed import STEPS, Undisturbed

from laneb.places import AnyPath


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables by which clients reach an S3 server: moto's, or where `S3_SERVER=seaweedfs` says so SeaweedFS."""
    chosen = seaweedfs if os.environ.get("S3_SERVER") == "seaweedfs" else moto
    with chosen(tmp_path_factory.mktemp("s3")) as variables:
        yield variables


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """SeaweedFS, which keeps what it is given on a disk and answers conditions in its own way."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as variables:
        yield variables


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AnyPath:
    """An empty bucket."""
    return new_bucket(s3_server, monkeypatch)


@pytest.fixture
def seaweedfs_bucket(seaweedfs_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AnyPath:
    """An empty bucket there."""
    return new_bucket(seaweedfs_server, monkeypatch)


@pytest.fixture(params=["folder", "bucket"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    """A place that several machines share, of either kind."""
    return tmp_path / "shared" if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs = Runs(folder / "runs", write_shards(folder / "shards"))
    spec = runs.spec(steps=STEPS, checkpoint_every=20, eval_every=100)
    return Undisturbed(runs, spec, runs.train(spec))
