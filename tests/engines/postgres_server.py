"""A Postgres server of Postgres's own programs, in a folder of its own, as another user than root."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from servers import accepts, free_port, until


def _program(name: str) -> str | None:
    """Debian keeps the server's programs out of the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


def missing() -> str:
    """Why there can be no server here; empty where there can."""
    if importlib.util.find_spec("dagster_postgres") is None:
        return "dagster-postgres is not installed: pip install 'laneb[postgres]'"
    if _program("initdb") is None:
        return "no Postgres here: apt-get install --no-install-recommends postgresql"
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            return "" if pwd.getpwnam("postgres") and shutil.which("runuser") else "no runuser here"
        return "Postgres does not run as root, and there is no user postgres"
    return ""


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """A server while the block runs: its URL."""
    folder, port, user = Path(tempfile.mkdtemp(prefix="laneb-postgres-")), free_port(), []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    data = str(folder / "data")
    initdb = [_program("initdb"), "--pgdata", data, "--username=dagster", "--auth=trust", "--no-sync"]
    subprocess.run([*user, *initdb], check=True, capture_output=True, cwd=folder)
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*user, _program("postgres"), "-D", data, *settings],
            stdout=log, stderr=log, cwd=folder, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: accepts(port), what="Postgres accepts connections")
        yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(ProcessLookupError):
            # Its quick end, which hangs up on clients.
            os.killpg(server.pid, signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
