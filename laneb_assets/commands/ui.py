"""`laneb ui`: Dagster's UI, daemon and code servers on the same instance, behind a guard."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import psutil
from filelock import FileLock, Timeout

from laneb.places import checkout_root
from laneb.settings import SettingsError, absolute_environment, load_settings, profile_path
from laneb_assets.home import InstanceError, fault_of, faults_explained, home_in_use, make_ready
from laneb_assets.names import UI_HOSTS
from laneb_assets.workspace import write_workspace

LOCK = "laneb_ui.lock"
PLACE = "laneb_ui.json"
LOG = "laneb_ui.log"
STOP_SECONDS = 20
LEFT_OVER_SECONDS = 15
"""How long what an earlier `laneb ui` left behind may take to end: it does so by itself."""


def ui_command(profile: str | None, port: int, hosts: Sequence[str]) -> int:
    """Serve on loopback until Ctrl-C; the exit code.

    Raises:
        SettingsError: the port or the instance is another's.
        InstanceError: the instance can't be used.
    """
    settings = load_settings(profile)
    home = home_in_use()
    # Before the lock's file lies in it: only an empty folder gets the checkout's dagster.yaml.
    make_ready(home)
    with _only_one_on(home, port):
        _refuse_what_is_taken(home, port)
        _check_instance(home)
        environment = {
            **absolute_environment(os.environ),
            "DAGSTER_HOME": str(home),
            "LANE_B_PROFILE": profile_path(settings.profile),
            UI_HOSTS: ",".join(hosts),
        }
        with tempfile.TemporaryDirectory() as folder:
            workspace = write_workspace(Path(folder), checkout_root())
            return _serve(home, workspace, port, environment)


def _serve(home: Path, workspace: Path, port: int, environment: dict[str, str]) -> int:
    log = home / LOG
    command = [sys.executable, "-m", "laneb_assets.web.services", str(home), str(workspace), str(port)]
    # What a shell starts in the background ignores SIGINT, and nothing else would stop it in good order.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"Dagster starts on http://127.0.0.1:{port} (DAGSTER_HOME {home}, log {log})", flush=True)
    with log.open("ab") as said:
        # Not in the checkout: its .env would beat the DAGSTER_HOME that was chosen.
        process = subprocess.Popen(
            command, env=environment, cwd=home, stdout=subprocess.PIPE, stderr=said, start_new_session=True
        )
    assert process.stdout is not None
    try:
        if process.stdout.readline():
            print("It is there: open it in a browser. Ctrl-C stops it.", flush=True)
            print("For others, a proxy asks who they are: laneb ui --allow-host NAME (docs/ui.md).", flush=True)
        code = process.wait()
    except KeyboardInterrupt:
        _end(process)
        print("laneb ui: stopped.", file=sys.stderr)
        return 130
    _end(process)
    click.echo(f"laneb: {_last_line(log)}; its log: {log}", err=True)
    return code or 1


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and all that it started: as Ctrl-C in its terminal would, then for good."""
    for way, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, way)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "Dagster has ended"


@contextlib.contextmanager
def _only_one_on(home: Path, port: int) -> Iterator[None]:
    """One `laneb ui` on an instance: two daemons would each start what the other starts."""
    lock, place = FileLock(home / LOCK), home / PLACE
    try:
        lock.acquire(timeout=0)
        place.write_text(json.dumps({"pid": os.getpid(), "port": port}), encoding="utf-8")
    except Timeout:
        raise SettingsError([_where_it_is(place, home)]) from None
    except OSError as error:
        error.filename = error.filename or str(place)
        raise InstanceError(fault_of(error, home)) from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)
        lock.release()


def _where_it_is(place: Path, home: Path) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        known: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return (
            f"laneb ui is at work on DAGSTER_HOME {home} already: http://127.0.0.1:{known['port']} (process "
            f"{known['pid']}). Use that one, or end it first."
        )
    return f"laneb ui is at work on DAGSTER_HOME {home} already."


def _refuse_what_is_taken(home: Path, port: int) -> None:
    """Say so before anything starts when the port or the instance is another's, and whose.

    What an earlier `laneb ui` left behind, killed, ends by itself within seconds, which are waited for.
    """
    for _ in range(LEFT_OVER_SECONDS):
        taken = [process for process in (_holder_of(port), _daemon_of(home)) if process is not None]
        if not any(_is_left_over(process) for process in taken):
            break
        threading.Event().wait(1)
    if (daemon := _daemon_of(home)) is not None:
        raise SettingsError(
            [
                f"a Dagster daemon is at work on DAGSTER_HOME {home} already (process {daemon.pid}, of dagster dev or "
                f"left behind by it), and two start each run twice. End it first: kill {daemon.pid}"
            ]
        )
    if not _is_free(port):
        holder = _holder_of(port)
        by = f" by process {holder.pid} ({' '.join(' '.join(_command(holder)).split())[:80]})" if holder else ""
        raise SettingsError([f"port {port} is taken{by}. End that, or choose another: laneb ui --port {port + 1}"])


def _is_left_over(process: psutil.Process) -> bool:
    """Whether a process was started by a `laneb ui` that is gone; so was one that ends meanwhile."""
    try:
        chain = [" ".join(_command(each)) for each in (process, *process.parents())]
    except psutil.Error:
        return True
    return "laneb_assets.web" in chain[0] and not any(" ui" in command for command in chain)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _holder_of(port: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    return None


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def _daemon_of(home: Path) -> psutil.Process | None:
    """A daemon that works on an instance."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "dagster._daemon" in process.cmdline() and process.environ().get("DAGSTER_HOME") == str(home):
                return process
    return None


def _check_instance(home: Path) -> None:
    """Open it once, so that what is wrong with it is said here, and its files are made by one process."""
    from laneb_assets.instance import open_instance

    with faults_explained(home), open_instance():
        pass
