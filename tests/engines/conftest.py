"""Real servers and daemons, started for the tests in folders of their own, and ended with them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from upath import UPath

from laneb.places import AnyPath


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(happens: Callable[[], object], seconds: float = 30.0, what: str = "") -> None:
    """Look again until something is so; a test that waits in vain fails and says for what."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or happens}"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def end(process: "subprocess.Popen[str]") -> None:
    """End a process and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An S3 server; gives the variables that clients reach it by."""
    pytest.importorskip("moto.server", reason="moto[server] is not installed")
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
