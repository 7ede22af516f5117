"""A Dagster server and daemon of a lane, as `laneb ui` starts them, and the questions that the UI asks it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import psutil

START_SECONDS = 120


def wait_until(condition: Callable[[], Any], what: str, seconds: float) -> Any:
    """What `condition` gives once it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def kill_all(*processes: "subprocess.Popen[bytes]") -> None:
    """End processes at once, with what they started."""
    ours = [psutil.Process(process.pid) for process in processes if process.poll() is None]
    for process in [child for parent in ours for child in parent.children(recursive=True)] + ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Server:
    """`dagster dev`, or `laneb ui`, on a free port of loopback."""

    def __init__(self, lane, *, ui: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        target = ["-m", "laneb_assets.definitions", "-h", "127.0.0.1", "-p", str(self.port)]
        program = ["laneb_assets.cli", "ui", "--port", str(self.port)] if ui else ["dagster", "dev", *target]
        self.log = lane.folder / f"server_{self.port}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *program],
                env=lane.environment(),
                cwd=lane.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # A shell's background job ignores SIGINT, and children would inherit that.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        wait_until(self.is_loaded, f"the code location loads ({self.log})", START_SECONDS)

    def is_loaded(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            return bool(self.ask(query)["repositoriesOrError"].get("nodes"))
        return False

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            reply = json.load(answer)
        assert "errors" not in reply, reply["errors"]
        return reply["data"]

    def materialize_all(self, keys: list[list[str]]) -> str:
        """What the UI's "Materialize all" launches; gives the backfill's id."""
        query = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
            __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
        selection = [{"path": key} for key in keys]
        launched = self.ask(query, params={"assetSelection": selection, "allPartitions": True})[
            "launchPartitionBackfill"
        ]
        assert "backfillId" in launched, launched
        return str(launched["backfillId"])

    def materialize(self, *keys: list[str], partition: str | None = None, config: Any = None) -> str:
        """What the UI launches for some assets, or one partition of them; gives the run's id."""
        query = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
            __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
            ... on RunConfigValidationInvalid { errors { message } } } }"""
        question = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"
        [repository] = self.ask(question)["repositoriesOrError"]["nodes"]
        params = {
            "selector": {
                "repositoryName": repository["name"],
                "repositoryLocationName": repository["location"]["name"],
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": key} for key in keys],
            },
            "mode": "default",
            "runConfigData": config or {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}] if partition else []},
        }
        launched = self.ask(query, params=params)["launchPipelineExecution"]
        assert "run" in launched, launched
        return str(launched["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        """What the UI's "Terminate" does."""
        query = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        assert self.ask(query, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        kill_all(self.process)

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=20)
        self.kill()


@contextlib.contextmanager
def serving(lane, *, ui: bool = False) -> Iterator[Server]:
    """A server that is gone afterwards, whatever happens."""
    server = Server(lane, ui=ui)
    try:
        yield server
    finally:
        server.stop()
