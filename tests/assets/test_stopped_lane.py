"""A lane that a person or a scheduler stops while it trains."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from server import wait_until

pytestmark = pytest.mark.slow


VARIABLES = {
    "LANE_B_BASELINE_SEEDS": "41",
    "LANE_B_BASELINE_MIN_SUCCESS": "1",
    "LANE_B_BASELINE_NUM_ITERATIONS": "1500",
    "LANE_B_CHECKPOINT_EVERY": "5000",
    "LANE_B_EVAL_EVERY": "500",
}


def test_a_stop_while_training_leaves_a_checkpoint_that_the_next_run_goes_on_from(lane, monkeypatch) -> None:
    run_dir = lane.settings.locations.runs_dir / "d1_i1500_s41"
    # As a terminal does, which tells them all, and as a scheduler does, which tells the one that it started.
    first = stopped_while_it_trains(lane, run_dir, lambda process: os.killpg(process.pid, signal.SIGINT))
    second = stopped_while_it_trains(lane, run_dir, lambda process: process.send_signal(signal.SIGTERM))
    assert 0 < first < second
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    again = lane.materialize("baseline_runs", "41")
    log = (run_dir / "train.log").read_text()
    assert [f"from step {step}" in log for step in (first, second)] == [True, True], again
    assert json.loads((run_dir / "result.json").read_text())["status"] == "ok"


def stopped_while_it_trains(lane, run_dir: Path, stop: Callable[["subprocess.Popen[str]"], object]) -> int:
    """`laneb run`, stopped when it has trained a while; the step of its checkpoint."""
    events = run_dir / "events.jsonl"
    steps = events.read_text().count('"event": "step"') if events.exists() else 0
    process = subprocess.Popen(
        [sys.executable, "-m", "laneb_assets.cli", "run"],
        env=lane.environment() | VARIABLES, cwd=lane.folder, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip

    def trains() -> bool:
        return events.exists() and events.read_text().count('"event": "step"') > steps

    wait_until(trains, "the baseline trains", 120)
    stop(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert "Stopped. What was trained is kept" in out
    assert "goes on from its last checkpoint" in out
    return max(int(path.stem.split("_")[1]) for path in (run_dir / "checkpoint").glob("step_*.pt"))
