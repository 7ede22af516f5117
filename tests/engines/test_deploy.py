"""What the pages tell people to deploy: each file against its published schema, and against the code it names."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from laneb.engines import engine_for
from laneb.engines.engine import EngineSilentError
from laneb.knobs import EngineKnobs
from laneb_assets.dagster_internals import workspace_faults

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = DEPLOY.parent / "docs" / "scale.md"


def compose_command() -> list[str] | None:
    """Whatever checks a compose file here."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and not subprocess.run([*command, "version"], capture_output=True).returncode:
            return command
    return None


@pytest.mark.skipif(compose_command() is None, reason="no docker compose here: apt-get install docker-compose")
def test_the_compose_file_holds_to_the_schema_of_compose():
    command = [*compose_command(), "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_parts_of_the_compose_file_fit_together():
    parts = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = parts["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= services.keys(), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= parts["volumes"].keys(), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), "open to everybody"
    server = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())
    assert workspace_faults(server) == []
    address = server["load_from"][0]["grpc_server"]
    assert f"--port {address['port']}" in services[address["host"]]["command"]
    asked = {value["env"] for value in _values(yaml.safe_load((DEPLOY / "dagster.yaml").read_text()))}
    assert asked <= parts["x-laneb"]["environment"].keys()


def _values(tree):
    """Every `{env: NAME}` in a configuration."""
    if isinstance(tree, dict):
        if tree.keys() == {"env"}:
            yield tree
        else:
            for value in tree.values():
                yield from _values(value)


def test_the_image_is_made_of_what_is_there():
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert len(names) >= 6 and all((DEPLOY.parent / name).exists() for name in names)


def kubernetes_settings() -> dict[str, str]:
    """The page's settings for Kubernetes."""
    text = PAGE.read_text()
    recipe = text[text.index("Kubernetes (") :]
    block = recipe[recipe.index("```\n") + 4 :].partition("```")[0]
    return dict(re.findall(r"^LANE_B_ENGINE_(ARGS|STATE|CANCEL)='(.*)'$", block, re.MULTILINE))


def test_the_pages_template_for_kubernetes_submits_a_valid_job_and_looks_and_cancels(tmp_path, monkeypatch):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    # In kubectl's place: keeps what it was given, and says that one pod is active while there is a job.
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(
        '#!/bin/sh\necho "$@" >> calls\ncase $1 in\n  apply) cat > job.json ;;\n'
        "  get) [ -e away ] && exit 1; [ -e job.json ] && echo 1; exit 0 ;;\n  delete) rm job.json ;;\nesac\n"
    )
    kubectl.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{kubectl.parent}:{os.environ['PATH']}")
    settings = kubernetes_settings()
    python = {name: text.replace("python -m", f"{shlex.quote(sys.executable)} -m") for name, text in settings.items()}
    knobs = EngineKnobs(
        engine="command", args=python["ARGS"], state_command=python["STATE"], cancel_command=python["CANCEL"]
    )
    engine = engine_for(knobs)
    assert engine.state("laneb-x-1") == "ended"
    engine.submit("laneb-x-1", ["python", "-m", "laneb.engines.node", "s3://bucket/lane/runs/a b"], tmp_path / "out")
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["metadata"]["name"] == "laneb-x-1"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == "s3://bucket/lane/runs/a b"
    for version in ("1.29", "1.33"):
        kubernetes_validate.validate(job, version, strict=True)
    assert engine.state("laneb-x-1") == "running"
    engine.cancel("laneb-x-1")
    assert engine.state("laneb-x-1") == "ended"
    (tmp_path / "away").touch()
    with pytest.raises(EngineSilentError):
        engine.state("laneb-x-1")
