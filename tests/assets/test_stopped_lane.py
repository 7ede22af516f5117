"""A lane that a person or a scheduler stops while it trains."""

import json
import os
import signal
import subprocess
import sys

import pytest
from server import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_training_leaves_a_checkpoint_that_the_next_run_goes_on_from(lane, monkeypatch, stop) -> None:
    variables = {
        "LANE_B_BASELINE_SEEDS": "41",
        "LANE_B_BASELINE_MIN_SUCCESS": "1",
        "LANE_B_BASELINE_NUM_ITERATIONS": "1500",
        "LANE_B_CHECKPOINT_EVERY": "5000",
        "LANE_B_EVAL_EVERY": "500",
    }
    run_dir = lane.settings.locations.runs_dir / "d1_i1500_s41"
    process = subprocess.Popen(
        [sys.executable, "-m", "laneb_assets.cli", "run"],
        env=lane.environment() | variables, cwd=lane.folder, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    events = run_dir / "events.jsonl"
    wait_until(lambda: events.exists() and '"event": "step"' in events.read_text(), "the baseline trains", 120)
    if stop == signal.SIGINT:
        os.killpg(process.pid, stop)  # as a terminal does
    else:
        process.send_signal(stop)  # as a scheduler does
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert "Stopped. What was trained is kept" in out
    assert "goes on from its last checkpoint" in out
    assert list((run_dir / "checkpoint").glob("step_*.pt"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    again = lane.materialize("baseline_runs", "41")
    assert "Resuming optimization from step" in (run_dir / "train.log").read_text(), again
    assert json.loads((run_dir / "result.json").read_text())["status"] == "ok"
