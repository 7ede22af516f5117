"""A lane that a person or a scheduler stops while it trains."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from in_terminal import CTRL_C, InTerminal
from server import wait_until

pytestmark = pytest.mark.slow


VARIABLES = {
    "LANE_B_BASELINE_SEEDS": "41",
    "LANE_B_BASELINE_MIN_SUCCESS": "1",
    "LANE_B_BASELINE_NUM_ITERATIONS": "1500",
    "LANE_B_CHECKPOINT_EVERY": "5000",
    "LANE_B_EVAL_EVERY": "500",
}

RUN = [sys.executable, "-m", "laneb_assets.cli", "run"]
STOPPED = "Stopped. What was trained is kept; laneb run goes on from its last checkpoint."


def test_a_stop_while_training_leaves_a_checkpoint_that_the_next_run_goes_on_from(lane, monkeypatch) -> None:
    run_dir = lane.settings.locations.runs_dir / "d1_i1500_s41"
    # By Ctrl-C in a terminal, which tells them all, and as a scheduler does, which tells the one that it started.
    first = stopped_in_a_terminal_while_it_trains(lane, run_dir)
    second = stopped_while_it_trains(lane, run_dir)
    assert 0 < first < second
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    again = lane.materialize("baseline_runs", "41")
    log = (run_dir / "train.log").read_text()
    assert [f"from step {step}" in log for step in (first, second)] == [True, True], again
    assert json.loads((run_dir / "result.json").read_text())["status"] == "ok"


def stopped_in_a_terminal_while_it_trains(lane, run_dir: Path) -> int:
    """`laneb run`, stopped by a key when it has trained a while; the step of its checkpoint."""
    trains = more_steps(run_dir)
    terminal = InTerminal(RUN, environment=lane.environment() | VARIABLES, folder=lane.folder)
    try:
        wait_until(trains, "the baseline trains", 120)
        wait_until(lambda: any("baseline_runs [41]" in line for line in terminal.lines()), "the bar is drawn", 60)
        terminal.type(CTRL_C)
        terminal.process.wait(60)
        assert terminal.settings_now() == terminal.settings
    finally:
        status = terminal.wait(60)
    said = terminal.lines(since="^C")
    assert status == 130, said
    assert said == [STOPPED]
    return last_checkpoint(run_dir)


def stopped_while_it_trains(lane, run_dir: Path) -> int:
    """`laneb run`, ended by SIGTERM when it has trained a while; the step of its checkpoint."""
    trains = more_steps(run_dir)
    process = subprocess.Popen(
        RUN, env=lane.environment() | VARIABLES, cwd=lane.folder, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(trains, "the baseline trains", 120)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == ""
    assert out.splitlines()[-1] == STOPPED
    return last_checkpoint(run_dir)


def more_steps(run_dir: Path) -> Callable[[], bool]:
    """Whether the run has trained since now."""
    events = run_dir / "events.jsonl"
    steps = events.read_text().count('"event": "step"') if events.exists() else 0
    return lambda: events.exists() and events.read_text().count('"event": "step"') > steps


def last_checkpoint(run_dir: Path) -> int:
    """The step of the newest one."""
    return max(int(path.stem.split("_")[1]) for path in (run_dir / "checkpoint").glob("step_*.pt"))
