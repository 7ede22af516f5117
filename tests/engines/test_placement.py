"""What hardware decides is decided on the machine that trains, whatever the coordinator's has."""

import json
import os
import shlex
import sys

import pytest

from laneb.engines import job as jobs
from laneb.plan import planned_runs
from laneb.records.experiment import Experiment
from laneb.storage.roles import baseline_role
from laneb.training import hardware
from laneb.wanted import changes_of, wanted_baseline


def on_a_machine_with(monkeypatch, *, cores: int, cuda: int | None) -> None:
    monkeypatch.setattr(hardware, "usable_cores", lambda: cores)
    monkeypatch.setattr(hardware, "cuda_capability", lambda: cuda)


def test_coordinators_with_other_hardware_want_the_same_runs_of_an_engine(lane, monkeypatch):
    def wanted(cores: int, cuda: int | None) -> list[str]:
        on_a_machine_with(monkeypatch, cores=cores, cuda=cuda)
        return [plan.spec.fingerprint for plan in planned_runs(lane.settings)]

    monkeypatch.setenv("LANE_B_THREADS", "0")
    assert wanted(1, None) != wanted(64, None)
    monkeypatch.setenv("LANE_B_ENGINE", "command")
    monkeypatch.setenv("LANE_B_ENGINE_ARGS", "bash -c {command}")
    assert wanted(1, None) == wanted(64, None) == wanted(8, 9)


ONE_CORE = (
    "import os, sys; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux gives a process fewer cores")
def test_a_lane_on_an_engine_trains_with_the_nodes_cores_and_once_for_coordinators_of_any(lane, monkeypatch, tmp_path):
    start = tmp_path / "one_core.py"
    start.write_text(ONE_CORE, encoding="utf-8")
    template = f"{shlex.quote(sys.executable)} {shlex.quote(str(start))} {{command}}"
    for name, value in {"THREADS": "0", "ENGINE": "command", "ENGINE_ARGS": template}.items():
        monkeypatch.setenv(f"LANE_B_{name}", value)
    on_a_machine_with(monkeypatch, cores=64, cuda=9)
    for asset in ("experiment", "tokenizer", "token_shards"):
        assert lane.materialize(asset).state == "done"
    assert lane.materialize("baseline_runs", "41").state == "done"
    run = lane.settings.locations.runs_dir / lane.store.read_run(baseline_role(41), "").run_id
    start = json.loads((run / "events.jsonl").read_text().splitlines()[0])
    assert {name: start[name] for name in ("event", "dtype", "compile", "threads")} == {
        "event": "start", "dtype": "float32", "compile": False, "threads": 1,
    }  # fmt: skip
    before = (run / "result.json").read_bytes()

    on_a_machine_with(monkeypatch, cores=3, cuda=None)
    result, experiment = lane.store.read_run(baseline_role(41), ""), lane.store.read(Experiment)
    assert result.fingerprint == wanted_baseline(lane.store, experiment, 41).fingerprint
    assert lane.materialize("baseline_runs", "41").state == "done"
    assert (run / "result.json").read_bytes() == before and jobs.read_job(run).attempt == 1
    # Nor is a run stale that was trained here, before there was an engine.
    monkeypatch.setenv("LANE_B_ENGINE", "local")
    assert changes_of(lane.settings.locations, result, wanted_baseline(lane.store, experiment, 41)) == ()
