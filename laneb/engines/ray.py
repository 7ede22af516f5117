"""A Ray cluster, by the REST interface of its dashboard: no Ray is needed here."""

from __future__ import annotations

import json
import math
import os
import shlex
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.engines.engine import EngineError, EngineSilentError, State

if TYPE_CHECKING:
    from laneb.places import AnyPath

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
ANSWER_SECONDS = 30.0
STOP_SECONDS = 600
"""Time for a checkpoint: Ray's own, 3 s, is too short to write one."""
NEVER_STARTED = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
"""How Ray calls it that a job got no place within `RAY_JOB_START_TIMEOUT_SECONDS` of its head."""

_RESOURCES = {"num_cpus": "entrypoint_num_cpus", "num_gpus": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
_STATES: Mapping[str, State] = {
    "PENDING": "queued", "RUNNING": "running", "STOPPED": "cancelled", "SUCCEEDED": "ended", "FAILED": "ended",
}  # fmt: skip


@dataclass(frozen=True)
class Ray:
    """A cluster at its dashboard's address.

    Attributes:
        address: such as http://127.0.0.1:8265.
        resources: what a job takes of a machine, in Ray's names; others than num_cpus, num_gpus and memory [bytes] are
            the cluster's own, such as {"a100": 1}.
        nodes: machines of a job.
    """

    address: str = DEFAULT_ADDRESS
    resources: Mapping[str, float] = field(default_factory=dict)
    nodes: int = 1

    @classmethod
    def of(cls, address: str, arguments: Sequence[str]) -> Ray:
        """From the settings: arguments are such as num_gpus=8 num_cpus=16 nodes=2.

        Raises:
            EngineError: one that is no name=number.
        """
        numbers: dict[str, float] = {}
        for argument in arguments:
            name, _, value = argument.partition("=")
            try:
                number = float(value)
                if not 0 <= number < math.inf:
                    raise ValueError
                numbers[name.lstrip("-").replace("-", "_")] = number
            except ValueError:
                raise EngineError(
                    f"LANE_B_ENGINE_ARGS={argument}: Ray takes numbers, such as: num_gpus=8 num_cpus=16 nodes=2"
                ) from None
        nodes = int(numbers.pop("nodes", 1))
        return cls((address or DEFAULT_ADDRESS).rstrip("/"), numbers, nodes)

    def submit(self, name: str, command: Sequence[str], output: AnyPath) -> str:
        """A job whose submission id is its name, which Ray gives once."""
        words = [*command, "--incarnation", name]
        if self.nodes > 1:
            spread = ["--nodes", str(self.nodes), "--resources", json.dumps(dict(self.resources))]
            words = [command[0], "-m", "laneb.engines.ray_nodes", *spread, "--", *words]
        job: dict[str, Any] = {
            "submission_id": name,
            # Ray's own shell makes way: told to stop, it would end before what it waits for.
            "entrypoint": f"exec {shlex.join(words)}",
            "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}},
        }
        if self.nodes == 1:  # Of several machines, the job itself only asks for them and takes nothing.
            job |= {key: self.resources[own] for own, key in _RESOURCES.items() if own in self.resources}
            job["entrypoint_resources"] = {k: v for k, v in self.resources.items() if k not in _RESOURCES}
        try:
            self._ask("POST", "", job)
        except urllib.error.HTTPError as error:
            if self.state(name) == "absent":
                raise EngineError(f"Ray at {self.address} refused {name}: {_said(error)}") from error
        return f"Ray job {name}, its output at {self.address}"

    def state(self, name: str) -> State:
        """By the dashboard."""
        try:
            answer = self._ask("GET", f"/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return "absent"
            raise EngineSilentError(f"Ray at {self.address}: {_said(error)}") from error
        if answer.get("error_type") == NEVER_STARTED:
            return "unstarted"
        return _STATES.get(str(answer["status"]), "running")

    def cancel(self, name: str, *, at_once: bool = False) -> None:
        """SIGTERM, and SIGKILL after `STOP_SECONDS`."""
        try:
            self._ask("POST", f"/{name}/stop", {})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise EngineSilentError(f"Ray at {self.address}: {_said(error)}") from error

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the dashboard answers.

        Raises:
            urllib.error.HTTPError: it refuses.
            EngineError: it wants a token.
            EngineSilentError: it can't be reached.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api/jobs{path or '/'}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise EngineError(f"Ray at {self.address} wants a token: set RAY_AUTH_TOKEN") from error
            raise
        except (OSError, ValueError) as error:
            raise EngineSilentError(
                f"Ray at {self.address} does not answer ({getattr(error, 'reason', error)}): set LANE_B_ENGINE_ADDRESS "
                "to its dashboard, through a tunnel where that is on another machine"
            ) from error


def _token() -> str:
    """The cluster's token, where Ray's own clients look for it."""
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "") or Path.home() / ".ray" / "auth_token")
    return os.environ.get("RAY_AUTH_TOKEN", "") or (file.read_text(encoding="utf-8").strip() if file.is_file() else "")


def _said(error: urllib.error.HTTPError) -> str:
    text = error.read().decode("utf-8", "replace").strip()
    return (text.splitlines() or [str(error)])[-1]
