"""Runs whose numbers go to TensorBoard and MLflow too, as their own packages read them back."""

import json
import signal
from pathlib import Path

import pytest
from run_facts import drawn, once

from laneb.training.progress import read_progress
from laneb.training.run_directory import prepare
from laneb.training.trackers import Trackers, check_reach, check_trackers

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}


def said(run_dir: Path, event: str, number: str) -> dict[int, float]:
    events = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    return once([(entry["step"], entry[number]) for entry in events if entry["event"] == event])


def test_a_killed_run_stands_once_in_every_tracker(runs):
    from mlflow import MlflowClient

    from laneb.training.trackers.mlflow_run import MlflowTracker

    spec = runs.spec().model_copy(update={"trackers": ("tensorboard", "mlflow")})
    assert spec.fingerprint == runs.spec().fingerprint
    run_dir = runs.prepared(spec)
    process = runs.start(run_dir, **QUIET)
    for line in process.stdout:
        if line.startswith("step 00007"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    assert prepare(run_dir, spec) == "resume" and runs.start(run_dir, **QUIET).wait() == 0

    losses, curve = said(run_dir, "step", "loss"), said(run_dir, "evaluation", "bpb")
    assert list(losses) == list(range(12)) and len(curve) == 7
    assert len(list((run_dir / "tensorboard").iterdir())) == 2
    assert drawn(run_dir, "train/loss") == pytest.approx(losses)
    assert drawn(run_dir, "val/bpb") == pytest.approx(curve)

    links = read_progress(run_dir).trackers
    assert links["tensorboard"] == "tensorboard"
    address, _, run_id = links["mlflow"].partition("#/experiments/1/runs/")
    assert address == f"sqlite:///{runs.folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=address)
    for name, wanted in (("train/loss", losses), ("val/bpb", curve)):
        history = client.get_metric_history(run_id, name)
        assert once([(metric.step, metric.value) for metric in history]) == pytest.approx(wanted)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name, run.data.params["steps"]) == ("FINISHED", spec.run_id, "12")
    again = MlflowTracker(spec.model_copy(update={"attempt": 2}), run_dir)
    assert again.link != links["mlflow"] and MlflowTracker(spec, run_dir).link == links["mlflow"]


class Broken:
    """A tracker whose server is gone."""

    name, link = "broken", "nowhere"

    def begin(self, step: int) -> None:
        """It still answers."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        raise ConnectionError("no route\nto it")

    flush = close = begin


def test_a_tracker_that_fails_costs_a_sentence_and_no_run():
    trackers = Trackers([Broken()])
    assert trackers.begin(0) == [] and trackers.links == {"broken": "nowhere"}
    assert trackers.log(0, {}) == ["broken gets no more numbers of this run: ConnectionError: no route"]
    assert trackers.log(1, {}) == [] and trackers.links == {}


def test_a_tracker_without_its_package_is_refused_with_what_to_install():
    check_trackers(("tensorboard", "mlflow"))
    with pytest.raises(ValueError, match=r"LANE_B_TRACKERS=wandb,mlflow: the package wandb is not installed\. Install"):
        check_trackers(("wandb", "mlflow"))


def test_mlflow_on_a_machine_whose_folders_are_dropped_needs_a_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    check_reach(("tensorboard",))
    with pytest.raises(ValueError, match=r"MLflow needs a server\. Set MLFLOW_TRACKING_URI"):
        check_reach(("mlflow",))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    check_reach(("mlflow",))
