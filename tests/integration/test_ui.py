"""`laneb ui` as people and other sites' pages meet it: one real server, asked over HTTP and websockets."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from server import wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from laneb.settings import SettingsError
from laneb_assets.workspace import write_workspace

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
READ = json.dumps({"query": "{ version }"})
MUTATION = "/graphql?query=mutation%7BreloadWorkspace%7B__typename%7D%7D"


class Ui:
    """A `laneb ui` on a port of its own."""

    def __init__(self, lane) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.lane = lane
        self.process = self.start("--allow-host", "lab.example")
        assert self.process.stdout is not None
        assert "starts on" in self.process.stdout.readline()
        assert "is there" in self.process.stdout.readline()
        assert "a proxy asks who they are: laneb ui --allow-host NAME" in self.process.stdout.readline()

    def start(self, *options: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "laneb_assets.cli", "ui", "--port", str(self.port), *options]
        return subprocess.Popen(
            command, env=self.lane.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def request(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {**headers, **({"Content-Length": str(len(body))} if body else {})}.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() if body else None)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def ask(self, query: str, **variables: object):
        body = json.dumps({"query": query, "variables": variables})
        status, text = self.request("POST", "/graphql", body, **JSON)
        assert status == 200, text
        return json.loads(text)["data"]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Its living children whose command line has each of the words: one that ends meanwhile is none."""
        children, found = psutil.Process(self.process.pid).children(recursive=True), []
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                line = " ".join(child.cmdline())
                if line and all(word in line for word in words):
                    found.append(child)
        return found


@pytest.fixture(scope="module")
def ui(tmp_path_factory, lane_made_in):
    lane = lane_made_in(tmp_path_factory.mktemp("ui") / "lane", "simulated")
    assert lane.materialize("experiment").state == "done"
    lane.settings.locations.report_html.write_text("<h1>The answer</h1>")
    ui = Ui(lane)
    yield ui
    for process in [*ui.processes(), psutil.Process(ui.process.pid)] if ui.process.poll() is None else []:
        process.kill()


def test_pages_of_other_sites_are_refused_and_this_servers_are_not(ui) -> None:
    own, port = f"http://127.0.0.1:{ui.port}", ui.port
    refused = [
        ui.request("GET", "/", Host="evil.example"),
        ui.request("POST", "/graphql", READ, Origin="http://evil.example", **JSON),
        ui.request("POST", "/graphql", READ, Origin=f"http://localhost:{port + 1}", Host=f"localhost:{port}", **JSON),
        ui.request("POST", "/graphql", READ, Origin="null", **JSON),
        ui.request("GET", MUTATION),
        ui.request("GET", MUTATION, Origin=own),
        ui.request("POST", MUTATION, Origin="http://evil.example"),
        ui.request("POST", "/report_asset_materialization/x", "{}", Origin="http://evil.example", **JSON),
    ]
    assert [status for status, _ in refused] == [403] * len(refused)
    answered = [
        ui.request("POST", "/graphql", READ, **JSON),
        ui.request("POST", "/graphql", READ, Origin=own, **JSON),
        ui.request("POST", "/graphql", READ, Origin="https://lab.example", Host="lab.example", **JSON),
        ui.request("POST", "/graphql", READ, Origin="https://lab.example", **JSON),
        ui.request("GET", "/graphql?query=%7Bversion%7D", Host=f"localhost:{port}"),
        ui.request("GET", "/", Host=f"[::1]:{port}"),
    ]
    assert [status for status, _ in answered] == [200] * len(answered)


def test_subscriptions_are_for_pages_of_this_server_alone(ui) -> None:
    at = f"ws://127.0.0.1:{ui.port}/graphql"
    with connect(at, subprotocols=["graphql-ws"], origin=f"http://127.0.0.1:{ui.port}") as own:
        own.send(json.dumps({"type": "connection_init"}))
        assert json.loads(own.recv())["type"] == "connection_ack"
    with pytest.raises(InvalidStatus), connect(at, subprotocols=["graphql-ws"], origin="http://evil.example"):
        pass


def test_reports_are_served_for_this_experiment_and_nothing_else_of_the_disk(ui) -> None:
    assert ui.request("GET", "/laneb/report/simulated") == (200, "<h1>The answer</h1>")
    for path in ("/laneb/report/other", "/laneb/report/..%2F..%2Fsimulated%2F", "/laneb/report/%2Fetc"):
        assert ui.request("GET", path)[0] == 404


def test_a_run_of_laneb_run_is_on_the_timeline_and_can_be_executed_again(ui) -> None:
    query = """{ runsOrError { ... on Runs { results { runId status pipelineName
        repositoryOrigin { repositoryName repositoryLocationName } } } } }"""
    [run] = ui.ask(query)["runsOrError"]["results"]
    assert run["pipelineName"] == "analysis"
    assert run["repositoryOrigin"] == {"repositoryName": "__repository__", "repositoryLocationName": "laneb"}
    again = """mutation($id: String!) { launchRunReexecution(reexecutionParams: {parentRunId: $id, strategy: ALL_STEPS})
        { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
    launched = ui.ask(again, id=run["runId"])["launchRunReexecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    state = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"

    def ended() -> str:
        status = ui.ask(state, id=launched["run"]["runId"])["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else ""

    assert wait_until(ended, "the run executed again ends", 120) == "SUCCESS"


def test_a_second_one_says_where_the_first_is_and_a_taken_port_is_said_before_anything_starts(ui, tmp_path) -> None:
    second = ui.start()
    _, said = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"http://127.0.0.1:{ui.port} (process {ui.process.pid})" in said
    elsewhere = {**ui.lane.environment(), "DAGSTER_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "laneb_assets.cli", "ui", "--port", str(ui.port)]
    other = subprocess.run(command, env=elsewhere, capture_output=True, text=True, timeout=60)
    assert other.returncode == 2
    assert f"port {ui.port} is taken by process" in other.stderr
    assert "--port" in other.stderr
    assert len(other.stderr.splitlines()) == 1
    # Its new folder has the checkout's limits all the same, for when it starts.
    assert (tmp_path / "home" / "dagster.yaml").is_file()


def test_a_killed_code_server_comes_back_and_what_a_kill_leaves_behind_ends_by_itself(ui) -> None:
    [killed] = ui.processes(" grpc ")
    killed.kill()
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"

    def loaded_anew() -> bool:
        return bool(ui.processes(" grpc ")) and bool(ui.ask(query)["repositoriesOrError"].get("nodes"))

    wait_until(loaded_anew, "the code location is loaded again", 60)
    mine = ui.processes("laneb_assets.web")
    assert len(mine) == 3
    mine += ui.processes(" code-server ") + ui.processes(" grpc ")
    assert len(mine) >= 5
    os.kill(ui.process.pid, signal.SIGKILL)
    ui.process.wait()
    assert psutil.wait_procs(mine, timeout=30)[1] == []


def test_the_second_experiment_of_workspace_yaml_loads_from_any_folder(tmp_path: Path, lane) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "my_lanes").mkdir(parents=True)
    lines = [
        "from laneb_assets.definitions import build_definitions",
        f"defs = build_definitions({str(lane.profile)!r})",
    ]
    (checkout / "my_lanes" / "small.py").write_text("\n".join(lines))
    (checkout / "workspace.yaml").write_text(
        "load_from:\n- python_module: {module_name: my_lanes.small, working_directory: ., location_name: small}\n"
    )
    (tmp_path / "elsewhere").mkdir()
    workspace = write_workspace(tmp_path / "elsewhere", checkout)
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(workspace)]
    done = subprocess.run(command, cwd=tmp_path, env=lane.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("load_from:\n- python_modul: x\n", 'unexpected config entry "python_modul" at path root:load_from[0].'),
        ("load_from:\n- python_module: {}\n", 'required config entry "module_name" at path'),
        ("load_from: 3\n", "Value at path root:load_from must be list."),
        ("", 'it has no "load_from".'),
        ("load_from: [\n", "while parsing a flow node"),
    ],
)
def test_a_workspace_that_dagster_does_not_take_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "workspace.yaml").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(said)) as refused:
        write_workspace(tmp_path, tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'workspace.yaml'}: no workspace of Dagster: ")
    assert len(str(refused.value)) < 400
