"""Each way to start a run, under a real daemon and killed with it: what is shown stays true, nothing waits for ever."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from server import Server, kill_all, serving, wait_until

from laneb.settings import read_overrides
from laneb.storage.overrides import write_overrides
from laneb_assets.automation.runs import busy
from laneb_assets.automation.staleness import Staleness
from laneb_assets.runs.alive import is_alive

pytestmark = pytest.mark.slow

KEPT = {"threshold.threshold_offset": 0.015}
RECOVERY_SECONDS = 60


def test_every_route_is_recognised_and_a_kill_is_recovered_within_a_minute_of_the_next_start(simulated_lane) -> None:
    lane = slow(simulated_lane)
    for asset in ("experiment", "tokenizer", "token_shards"):
        assert lane.materialize(asset).state == "done"
    with lane.instance() as instance:
        instance.event_log_storage.set_concurrency_slots("training", 4)
        server = Server(lane)
        started: dict[str, str] = {}
        processes = []
        try:
            started["GraphQL"] = server.materialize(["simulated", "baseline_runs"], partition="41")
            for route, command in COMMANDS.items():
                known = {run.run_id for run in instance.get_runs()}
                processes.append(begin(lane, command))
                started[route] = wait_until(lambda known=known: new_run(instance, known), route, 120)
            for route, run_id in started.items():
                wait_until(lambda run_id=run_id: is_alive(instance, run_id), f"{route}: it shows that it lives", 120)
            # Whoever else asks sees that the lane is being worked on: the sensors start nothing beside it.
            assert "is under way" in str(busy(lane.assets()[0], instance))
            assert read_overrides(lane.settings.locations) == KEPT
        finally:
            kill_all(server.process, *processes)
        for route, run_id in started.items():
            wait_until(lambda run_id=run_id: is_alive(instance, run_id) is False, f"{route}: the lock is free", 10)
        with serving(lane):
            since = time.monotonic()
            for route, run_id in started.items():
                wait_until(
                    lambda run_id=run_id: instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.FAILURE,
                    f"{route}: the run is ended",
                    RECOVERY_SECONDS,
                )
            assert time.monotonic() - since < RECOVERY_SECONDS
            held = instance.event_log_storage.get_concurrency_info("training").active_run_ids
            assert not held & set(started.values())
        assert read_overrides(lane.settings.locations) == KEPT
        state = Staleness(lane.assets()[0], instance)
        assert {found.missing for found in state.partitions("baseline_runs").values()} == {True}


MODULE = "laneb_assets.definitions"
COMMANDS = {
    "job backfill": f"dagster job backfill -m {MODULE} -j baselines --partitions 42 --noprompt",
    "dg launch": "dg launch --assets simulated/calibration_runs --partition 200|41",
    "laneb run": "laneb run",
}


def slow(lane):
    """Its runs take minutes, and knobs are kept with it."""
    shutil.copy(Path(__file__).parents[2] / "dg.toml", lane.folder)
    surface = lane.folder / "surface.toml"
    surface.write_text(surface.read_text(encoding="utf-8") + "pace = 10.0\n", encoding="utf-8")
    write_overrides(lane.settings.locations, KEPT)
    return lane


def begin(lane, command: str) -> subprocess.Popen[bytes]:
    """A command of this environment, where no checkout's .env decides what the instance is."""
    program, *arguments = command.split()
    return subprocess.Popen(
        [str(Path(sys.executable).parent / program), *arguments],
        env=lane.environment(),
        cwd=lane.folder,
        stdout=(lane.folder / f"{program}_{arguments[0]}.log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def new_run(instance: dg.DagsterInstance, known: set[str]) -> str | None:
    """A run that trains and was not there before."""
    for run in instance.get_runs(limit=5):
        if run.run_id not in known and any(key.path[-1].endswith("_runs") for key in run.asset_selection or ()):
            return run.run_id
        if run.run_id not in known and run.job_name == "baselines":
            return run.run_id
    return None
