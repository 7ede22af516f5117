"""Real servers and daemons, started for the tests in folders of their own, and ended with them."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import accepts, end, free_port, until
from small_runs import Runs, write_shards
from undisturbed import STEPS, Undisturbed
from upath import UPath

from laneb.places import AnyPath


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 server; gives the variables that clients reach it by."""
    pytest.importorskip("moto.server", reason="no S3 server: pip install 'laneb[test]'")
    port = free_port()
    log = (tmp_path_factory.mktemp("s3") / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=log, stderr=log, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: accepts(port), what="the S3 server accepts connections")
    yield {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SERVER_PID": str(server.pid),
    }
    end(server)
    log.close()


@pytest.fixture
def bucket(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AnyPath:
    """An empty bucket."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    made = UPath(f"s3://lane-{uuid.uuid4().hex[:12]}")
    made.fs.mkdir(made.path)
    return made


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
