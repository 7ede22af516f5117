"""A Ray cluster on this machine, in namespaces of its own: Ray listens on every address, and ends processes by name."""

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from servers import until_up

START_SECONDS = 180
"""A machine is up within ten seconds, but for the load that other tests are."""

PORT, DASHBOARD = 6379, 8265
ADDRESS = f"http://127.0.0.1:{DASHBOARD}"
CLONE_NEWNET = 0x40000000
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41  # of a network interface, as Linux numbers them
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING": "0",
    "RAY_enable_metrics_collection": "false",
    # A raylet that is gone counts as dead after 2 s in place of 20.
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1500",
    "RAY_health_check_failure_threshold": "3",
    # A job that gets no place is dropped after so long, in place of 900 s.
    "RAY_JOB_START_TIMEOUT_SECONDS": "15",
}


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("aiohttp_cors") is None:
        return "Ray is not installed: pip install 'laneb[ray]'"
    if " " in sys.prefix:
        return "Ray's own start scripts break where its path has a space"
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a network of its own for the cluster takes Linux, unshare and root"
    done = subprocess.run(["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"], check=False)
    return "" if done.returncode == 0 else "no namespaces can be made here"


@dataclass
class Cluster:
    """Machines 0 (the head), 1 and so on, of two cores each, and of a resource `even` or `odd` by their number."""

    folder: Path
    machines: dict[int, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    holder: "subprocess.Popen[bytes] | None" = None

    def start(self, count: int) -> None:
        # Its end is the end of all processes in the namespaces; bash reaps those that lost their parents.
        isolated = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.holder = subprocess.Popen([*isolated, "bash", "-c", "sleep infinity & wait"])
        self._wait(self._first_inside)
        with self.threads(1) as inside:
            inside.submit(self._start_inside, count).result()

    def threads(self, count: int) -> ThreadPoolExecutor:
        """Threads in the cluster's network, as is what they start."""
        return ThreadPoolExecutor(count, initializer=self._enter)

    def start_machine(self, number: int) -> None:
        if number:
            place = [f"--address=127.0.0.1:{PORT}", f"--dashboard-agent-listen-port={DASHBOARD + number}"]
        else:
            place = ["--head", f"--port={PORT}", "--dashboard-host=127.0.0.1", f"--dashboard-port={DASHBOARD}"]
            place += [f"--temp-dir={self.folder}"]
        own = json.dumps({("even", "odd")[number % 2]: 2})
        options = ["--block", "--node-ip-address=127.0.0.1", "--num-cpus=2", f"--resources={own}"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *place, *options]
        into = ["nsenter", f"--target={self._first_inside()}", "--net", "--pid", "--mount"]
        with (self.folder / f"m{number}.out").open("wb") as output:
            self.machines[number] = subprocess.Popen(
                [*into, *command, "--object-store-memory=80000000"],
                stdout=output,
                stderr=output,
                env=os.environ | QUIET,
            )

    def lose_machine(self, number: int) -> None:
        """Kill a machine's raylet, which starts all else there."""
        for process in psutil.Process(self.machines[number].pid).children(recursive=True):
            if process.name() == "raylet":
                process.kill()
        self.machines[number].wait(30)

    def machines_alive(self) -> int:
        """As the head counts them."""
        try:
            with urllib.request.urlopen(f"{ADDRESS}/nodes?view=summary", timeout=5) as answer:
                summary = json.loads(answer.read())["data"]["summary"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return sum(machine["raylet"].get("state") == "ALIVE" for machine in summary)

    def stop(self) -> None:
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()
        for machine in self.machines.values():
            machine.wait(30)

    def _start_inside(self, count: int) -> None:
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
        for number in range(count):
            # One after another: two that start at once on one address get in each other's way.
            self.start_machine(number)
            self._wait(lambda: self.machines_alive() > number)  # noqa: B023 - called in this turn alone

    def _enter(self) -> None:
        with Path(f"/proc/{self._first_inside()}/ns/net").open() as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def _first_inside(self) -> int:
        """The first process of the namespaces, by its number outside; 0 before it is there."""
        assert self.holder is not None
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _wait(self, happens: Callable[[], object]) -> None:
        until_up(
            happens, {f"m{number}": machine for number, machine in self.machines.items()}, self.folder, START_SECONDS
        )


@contextlib.contextmanager
def cluster(count: int) -> Iterator[Cluster]:
    """A cluster of so many machines while the block runs."""
    # Not pytest's folder: its path is too long for the sockets that Ray makes there.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    made = Cluster(folder)
    try:
        made.start(count)
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
