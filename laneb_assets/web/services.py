"""What `laneb ui` starts: code servers, the guarded web server, and the daemon: `python -m laneb_assets.web.services`.

One process that starts them, looks after them, and ends with them; it writes a line when a page can be opened. It has a
process group of its own, so that whoever started it ends all of it by one signal.
"""

import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import yaml

from laneb_assets.dagster_internals import code_servers
from laneb_assets.web.child import GRACE_SECONDS, end_group, end_with_parent

READY = "ready"
LOOK_SECONDS = 2.0
LOOKS_AT_CODE = 3
"""Looks at the processes between two at the code servers, which answer over a socket."""


def serve(home: Path, workspace: Path, port: int) -> int:
    """Run all three until one of them ends or this process is told to stop; the exit code."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        specs, looks = stack.enter_context(code_servers(instance, workspace))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        shared = Path(folder) / "workspace.yaml"
        shared.write_text(yaml.safe_dump({"load_from": specs}), encoding="utf-8")
        at = ["-h", "127.0.0.1", "-p", str(port)]
        processes = {
            "web server": _start("laneb_assets.web.server", "-w", str(shared), *at, "--dagster-log-level", "warning"),
            "daemon": _start("dagster._daemon", "run", "-w", str(shared), "--log-level", "info"),
        }
        try:
            return _look_after(processes, looks.values(), f"http://127.0.0.1:{port}/server_info")
        finally:
            _stop(processes.values())


def _start(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "laneb_assets.web.child", module, *arguments], stdout=sys.stderr)


def _look_after(
    processes: dict[str, "subprocess.Popen[bytes]"], looks: Collection[Callable[[], None]], address: str
) -> int:
    never = threading.Event()
    ready, number = False, 0
    while True:
        for name, process in processes.items():
            if process.poll() is not None:
                print(f"the {name} has ended with code {process.returncode}", file=sys.stderr, flush=True)
                return 1
        if not ready and (ready := _answers(address)):
            print(READY, flush=True)
        number += 1
        if ready and number % LOOKS_AT_CODE == 0:
            for look in looks:
                look()
        never.wait(LOOK_SECONDS if ready else LOOK_SECONDS / 10)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _stop(processes: Collection["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    """Serve, from the command line."""
    home, workspace, port = sys.argv[1:]
    end_with_parent(3 * GRACE_SECONDS)
    os.environ["DAGSTER_HOME"] = home
    try:
        code = serve(Path(home), Path(workspace), int(port))
    except KeyboardInterrupt:
        code = 130
    finally:
        end_group()
    sys.exit(code)


if __name__ == "__main__":
    main()
