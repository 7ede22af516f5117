"""A disk without room, at each stage of a lane. benchmarks/full_disk.py tries every place; here it is one for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from full_disk import NAMESPACE, answer_of, mounting_fails

from laneb.records.corpus import TokenShards
from laneb.records.verdict import Verdict


def test_a_disk_that_fills_up_is_said_at_each_stage_and_with_room_made_the_lane_ends_equal(
    finished_simulated_lane: Any,
) -> None:
    if why := mounting_fails():
        pytest.skip(f"a disk of a stated size takes a mount in a user namespace: {why}")
    lane = finished_simulated_lane
    # A copy's records name the place that it was copied from until it has run.
    assert [outcome.error for outcome in lane.run() if outcome.state == "failed"] == []
    expected = json.loads(json.dumps(answer_of(lane.profile, timed=False)))
    # What each stage makes is taken away, so that it is made again: shards, a run with its log, rows, the answer.
    at = lane.settings.locations
    for path in [*Path(lane.store.read(TokenShards).path).iterdir(), *at.runs_dir.glob("*_i400_s41/*")]:
        path.unlink()
    for path in (at.baseline_results_dir / "baseline_d1_s41_train.log", at.duckdb_path, lane.store.path(Verdict)):
        path.unlink()
    lane.store.run_path("baseline_s41").unlink()
    command = [*NAMESPACE, sys.executable, str(Path(__file__).with_name("full_disk.py"))]
    command += [str(lane.folder), str(lane.profile), "data", str(16 << 10), "4"]
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        command, env=lane.environment() | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert (found["complaints"], found["finished"]) == ([], True)
    assert any("shards_" in sentence for sentence in found["sentences"]), found["sentences"]
    assert len(set(found["sentences"])) > 2, found["sentences"]
    assert all("are wanted" in one or ".duckdb" in one or "/runs/" in one for one in found["sentences"])
    assert found["answer"] == expected
