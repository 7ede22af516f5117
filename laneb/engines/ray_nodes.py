"""`python -m laneb.engines.ray_nodes --nodes N --resources JSON -- COMMAND`: a run on several machines of a cluster.

What Ray's job runs. It asks for the machines as a group, all or none, and starts the node's command on each, with its
rank and where the first one is. Ends when all have ended; told to stop, it tells them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

LOOK_SECONDS = 0.5
NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}
"""What a bundle of machines calls the resources that jobs and actors call so."""


def main(arguments: list[str]) -> int:
    """Run the command on several machines; gives the first bad exit status, or 0."""
    parser = argparse.ArgumentParser(prog="python -m laneb.engines.ray_nodes", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True)
    parser.add_argument("--resources", type=json.loads, required=True)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    import ray

    stopped: list[int] = []
    ray.init()
    # After Ray, which puts a handler of its own there.
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    machines = _machines(given.nodes, given.resources, stopped)
    if not machines:
        return 128 + signal.SIGTERM
    host, port = ray.get(machines[0].meeting_point.remote())
    for rank, machine in enumerate(machines):
        place = ["--nodes", str(given.nodes), "--rank", str(rank), "--master", f"{host}:{port}"]
        ray.get(machine.start.remote([*given.command, *place]))
    return _watched(machines, stopped)


def _machines(count: int, resources: Mapping[str, float], stopped: list[int]) -> list[Any]:
    """An actor on each of so many machines, once there are that many; none when it was told to stop meanwhile."""
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    bundle = {NAMES.get(name, name): value for name, value in {"num_cpus": 1.0, **resources}.items() if value}
    group = placement_group([bundle] * count, strategy="STRICT_SPREAD")
    while not ray.wait([group.ready()], timeout=LOOK_SECONDS)[0]:
        if stopped:
            return []
    actor = ray.remote(Machine)
    return [
        actor.options(
            num_cpus=bundle.get("CPU", 0),
            num_gpus=bundle.get("GPU", 0),
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        ).remote()
        for rank in range(count)
    ]


def _watched(machines: list[Any], stopped: list[int]) -> int:
    import ray

    told = False
    while True:
        codes = ray.get([machine.code.remote() for machine in machines])
        if all(code is not None for code in codes):
            return next((abs(code) for code in codes if code), 0)
        if not told and (stopped or any(codes)):
            # One that is gone leaves the others waiting for it.
            told = True
            ray.get([machine.stop.remote() for machine in machines])
        time.sleep(LOOK_SECONDS)


class Machine:
    """On each machine: the node's process, which ends with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def meeting_point(self) -> tuple[str, int]:
        """Where the others reach this machine, and a port that is free there."""
        import ray

        own_address: Any = ray.util.get_node_ip_address
        with socket.socket() as listener:
            listener.bind(("", 0))
            return str(own_address()), int(listener.getsockname()[1])

    def start(self, command: list[str]) -> None:
        """Start the node's command."""
        self._process = subprocess.Popen([*command, "--parent", str(os.getpid())], stdin=subprocess.DEVNULL)

    def code(self) -> int | None:
        """Its exit status, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Tell it to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
